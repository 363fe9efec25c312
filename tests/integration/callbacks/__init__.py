"""Tests of callbacks: what ends a task or a group makes the delivery that tells it, in the same statement."""
