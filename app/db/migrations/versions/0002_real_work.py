"""Retries, timeouts, priorities, keys, progress, checkpoints; groups; schedules."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Apply. No column rewrites the table: each is nullable or has a constant for its default."""
    op.add_column("tasks", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("priority", sa.SmallInteger(), server_default="1", nullable=False))
    op.add_column("tasks", sa.Column("max_attempts", sa.Integer(), nullable=True))
    op.add_column("tasks", sa.Column("timeout_seconds", sa.Double(), nullable=True))
    op.add_column("tasks", sa.Column("progress", postgresql.JSON(), nullable=True))
    op.add_column("tasks", sa.Column("result", postgresql.JSON(), nullable=True))
    op.add_column("tasks", sa.Column("cursor", postgresql.JSON(), nullable=True))
    op.add_column("tasks", sa.Column("history", postgresql.JSONB(), nullable=True))
    op.add_column("tasks", sa.Column("traceparent", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("group_id", sa.Uuid(), nullable=True))
    op.add_column("tasks", sa.Column("concurrency_key", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("concurrency_limit", sa.Integer(), server_default="1", nullable=False))
    op.add_column("tasks", sa.Column("is_blocked", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("consumers", sa.Column("kinds", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.drop_index("tasks_due", table_name="tasks")
    op.create_index(
        "tasks_due",
        "tasks",
        ["kind", "priority", "run_at"],
        postgresql_where=sa.text("status = 'pending' AND NOT is_blocked"),
    )
    op.create_index(
        "tasks_blocked",
        "tasks",
        ["concurrency_key", "priority", "run_at"],
        postgresql_where=sa.text("status = 'pending' AND is_blocked"),
    )
    op.create_index(
        "tasks_blocked_due",
        "tasks",
        ["run_at"],
        postgresql_where=sa.text("status = 'pending' AND is_blocked AND lost_count >= 0"),
    )
    op.create_index(
        "tasks_admitted",
        "tasks",
        ["concurrency_key"],
        postgresql_where=sa.text(
            "concurrency_key IS NOT NULL AND status IN ('pending', 'processing') AND NOT is_blocked"
        ),
    )
    op.create_index(
        "tasks_group_live",
        "tasks",
        ["group_id", sa.text("id DESC")],
        postgresql_where=sa.text("group_id IS NOT NULL AND status IN ('pending', 'processing')"),
    )
    op.create_index(
        "tasks_group_ended",
        "tasks",
        ["group_id"],
        postgresql_where=sa.text("group_id IS NOT NULL AND status IN ('completed', 'failed', 'canceled')"),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("on_failure", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("then_kind", sa.Text(), nullable=True),
        sa.Column("then_content", postgresql.JSON(), nullable=True),
        sa.Column("then_options", postgresql.JSONB(), nullable=True),
        sa.Column("then_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("on_failure IN ('cancel_rest', 'continue')", name=op.f("groups_on_failure_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("groups_pkey")),
    )
    op.create_index("groups_open", "groups", ["id"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index(
        "groups_stopping",
        "groups",
        ["id"],
        postgresql_where=sa.text("ended_at IS NULL AND (failed_at IS NOT NULL OR canceled_at IS NOT NULL)"),
    )
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSON(), nullable=False),
        sa.Column("missed", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("is_declared", sa.Boolean(), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_task_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("missed IN ('skip', 'run_once')", name=op.f("schedules_missed_known")),
        sa.CheckConstraint("isfinite(next_run_at)", name=op.f("schedules_next_run_at_finite")),
        sa.PrimaryKeyConstraint("name", name=op.f("schedules_pkey")),
    )
    op.create_index("schedules_due", "schedules", ["next_run_at"], postgresql_where=sa.text("enabled"))


def downgrade() -> None:
    """Undo."""
    op.drop_table("schedules")
    op.drop_table("groups")
    op.drop_column("consumers", "kinds")
    for index in ("group_ended", "group_live", "admitted", "blocked_due", "blocked", "due"):
        op.drop_index(f"tasks_{index}", table_name="tasks")
    op.create_index("tasks_due", "tasks", ["run_at"], postgresql_where=sa.text("status = 'pending'"))
    for column in (
        *("is_blocked", "concurrency_limit", "concurrency_key", "group_id", "traceparent", "history", "cursor"),
        *("result", "progress", "timeout_seconds", "max_attempts", "priority", "finished_at", "started_at"),
    ):
        op.drop_column("tasks", column)
