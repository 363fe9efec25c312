"""Tests of groups: exact counts, one end, one `then`, whoever finishes, fails, cancels or dies when."""
