"""Counters of tasks by kind and status (docs/decisions/0009), and the kinds of a queue that was paused."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"

_STATUSES = ("pending", "processing", "completed", "failed", "canceled")

# Each writes a row for each kind and status that the statement touches, in its own transaction: nobody waits for it.
_INSERTED = """
INSERT INTO task_deltas (kind, status, number, created)
SELECT kind, status, count(*), count(*) FROM new_tasks GROUP BY kind, status
"""
_DELETED = """
INSERT INTO task_deltas (kind, status, number) SELECT kind, status, -count(*) FROM old_tasks GROUP BY kind, status
"""
# What was and what is, without a join. What moves no task writes no row.
_UPDATED = """
INSERT INTO task_deltas (kind, status, number)
SELECT kind, status, sum(sign)
FROM (SELECT kind, status, -1 AS sign FROM old_tasks UNION ALL SELECT kind, status, 1 FROM new_tasks) AS counted
GROUP BY kind, status HAVING sum(sign) <> 0
"""
# The lock of app/queue/counts.py's fold, which must not put back what is taken away here.
_TRUNCATED = "PERFORM pg_advisory_xact_lock(31328); DELETE FROM task_counts; DELETE FROM task_deltas"

_TRIGGERS = {
    "insert": (_INSERTED, "REFERENCING NEW TABLE AS new_tasks"),
    "update": (_UPDATED, "REFERENCING OLD TABLE AS old_tasks NEW TABLE AS new_tasks"),
    "delete": (_DELETED, "REFERENCING OLD TABLE AS old_tasks"),
    "truncate": (_TRUNCATED, ""),
}


def upgrade() -> None:
    """Apply. Whoever writes tasks waits until the rows that are there are counted."""
    op.add_column("queues", sa.Column("kinds", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False))
    numbers = [sa.Column(name, sa.BigInteger(), nullable=False) for name in (*_STATUSES, "created", "ended")]
    op.create_table(
        "task_counts",
        sa.Column("kind", sa.Text(), nullable=False),
        *numbers,
        sa.PrimaryKeyConstraint("kind", name=op.f("task_counts_pkey")),
    )
    op.create_table(
        "task_deltas",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created", sa.Integer(), server_default="0", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
    )
    op.create_table(
        "task_rates",
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("minute", "kind", name=op.f("task_rates_pkey")),
    )
    op.execute("LOCK TABLE tasks IN SHARE ROW EXCLUSIVE MODE")
    for event, (body, tables) in _TRIGGERS.items():
        op.execute(
            f"CREATE FUNCTION tasks_note_{event}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {body}; RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER tasks_note_{event} AFTER {event.upper()} ON tasks {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION tasks_note_{event}()"
        )
    counted = ", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in _STATUSES)
    op.execute(f"INSERT INTO task_counts SELECT kind, {counted}, 0, 0 FROM tasks GROUP BY kind")


def downgrade() -> None:
    """Undo."""
    for event in _TRIGGERS:
        op.execute(f"DROP TRIGGER tasks_note_{event} ON tasks")
        op.execute(f"DROP FUNCTION tasks_note_{event}()")
    for table in ("task_rates", "task_deltas", "task_counts"):
        op.drop_table(table)
    op.drop_column("queues", "kinds")
