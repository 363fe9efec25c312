"""Tasks and the consumers that run them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("content", postgresql.JSON(), nullable=False),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lost_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim_id", sa.Uuid(), nullable=True),
        sa.Column("consumer_id", sa.Uuid(), nullable=True),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'canceled')", name=op.f("tasks_status_known")
        ),
        sa.CheckConstraint(
            "status <> 'processing' OR (claim_id IS NOT NULL AND consumer_id IS NOT NULL)",
            name=op.f("tasks_processing_is_claimed"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pkey")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("tasks_due", "tasks", ["run_at"], postgresql_where=sa.text("status = 'pending'"))
    op.create_index(
        "tasks_suspect", "tasks", ["run_at"], postgresql_where=sa.text("status = 'pending' AND lost_count >= 2")
    )
    op.create_index("tasks_processing", "tasks", ["consumer_id"], postgresql_where=sa.text("status = 'processing'"))
    op.create_table(
        "consumers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("consumers_pkey")),
        postgresql_with={"fillfactor": 50},
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("consumers")
    op.drop_table("tasks")
