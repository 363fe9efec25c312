"""Finish by the status alone: whoever comes while the task is being processed."""

from tests.chaos.builds import weaken

weaken("WHERE tasks.id = mine.id AND (tasks.status = 'processing') IS TRUE")
