"""What `make run` executes: PostgreSQL and Valkey from wheels, and everything under one Supervisor."""
