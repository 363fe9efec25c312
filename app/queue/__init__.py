"""One verb a file, and the only SQL on tasks."""
