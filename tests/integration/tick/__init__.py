"""Tests of the ticks of schedules."""
