"""Versions, tenants, callbacks, idempotency keys, paused queues, and the key that signs cursors."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    """Apply. No column rewrites the table: each is nullable or has a constant for its default."""
    op.add_column("tasks", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("tasks", sa.Column("tenant", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("callback_url", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("callback_of", sa.Uuid(), nullable=True))
    op.create_index(
        "tasks_unsuccessful",
        "tasks",
        ["status", "id"],
        postgresql_where=sa.text("status IN ('failed', 'canceled')"),
    )
    op.create_index("tasks_tenant", "tasks", ["tenant", "id"], postgresql_where=sa.text("tenant IS NOT NULL"))
    op.create_index(
        "tasks_callbacks", "tasks", ["callback_of", "id"], postgresql_where=sa.text("callback_of IS NOT NULL")
    )
    op.add_column("groups", sa.Column("tenant", sa.Text(), nullable=True))
    op.add_column("groups", sa.Column("callback_url", sa.Text(), nullable=True))
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index("idempotency_keys_age", "idempotency_keys", ["created_at"])
    op.create_table(
        "queues",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("queues_pkey")),
    )
    op.create_table(
        "walks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "last_id", sa.Uuid(), server_default=sa.text("'00000000-0000-0000-0000-000000000000'"), nullable=False
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("walks_pkey")),
    )
    op.execute("INSERT INTO walks (name) VALUES ('tasks'), ('groups')")
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("secrets_pkey")),
    )
    op.execute(
        "INSERT INTO secrets (name, value) "
        "VALUES ('cursor', uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"
    )


def downgrade() -> None:
    """Undo."""
    for table in ("secrets", "walks", "queues", "idempotency_keys"):
        op.drop_table(table)
    op.drop_column("groups", "callback_url")
    op.drop_column("groups", "tenant")
    for index in ("callbacks", "tenant", "unsuccessful"):
        op.drop_index(f"tasks_{index}", table_name="tasks")
    for column in ("callback_of", "callback_url", "tenant", "version"):
        op.drop_column("tasks", column)
