"""Benchmarks: each prints what it compares side by side, as measured in one run."""
