"""Taskmill: a task queue that services reach over HTTP."""

__version__ = "0.1.0"
