"""The connection pool, the tables and their migrations."""
