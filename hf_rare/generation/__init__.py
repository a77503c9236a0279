"""Generators: from messages to completions.

`protocol` says what a generator is; `transformers_generator` is the one that runs a local model under accelerate,
built from `loading` (models), `encoding` (messages to tokens), `batching` (which rows go together) and `sampling` (the
draw).
"""
