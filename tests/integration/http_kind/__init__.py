"""Tests of the kind `http` against a real service: what it sends, and what it makes of the answer."""
