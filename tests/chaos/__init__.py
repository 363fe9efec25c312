"""`python -m tests.chaos`: the whole service under faults, and a checker that reads the history of it."""
