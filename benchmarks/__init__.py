"""Benchmarks: each writes its result with machine, versions and date to `benchmarks/results/`."""
