"""What PostgreSQL and Redis do at most on this machine, asked as simply as can be."""
