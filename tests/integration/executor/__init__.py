"""Tests of the executor: what becomes of a run."""
