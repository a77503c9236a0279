"""Generators: from messages to completions.

`protocol` says what a generator is; `transformers_generator` is the one that runs a local model under accelerate,
built from `revisions` (which weights), `loading` (models), `encoding` (messages to tokens), `batching` (which rows go
together), `decoding` (the generation config) and `sampling` (the draw).
"""
