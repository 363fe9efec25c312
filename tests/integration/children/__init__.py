"""Tests of isolated handlers in real child processes, without a consumer around them."""
