"""Kinds of task for tests: modules for HANDLER_MODULES."""
