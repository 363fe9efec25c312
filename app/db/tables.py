"""The tables and their indexes. Alembic's migrations make them; a test proves that the two agree."""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Integer, MetaData, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSON, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)

_NOW = text("now()")

tasks = Table(
    "tasks",
    metadata,
    Column("id", Uuid, primary_key=True),  # UUIDv7: new rows land at the right edge of the index
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("content", JSON, nullable=False),  # the text as it was sent: docs/decisions/0005
    Column("error", JSONB),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("lost_count", Integer, nullable=False, server_default="0"),
    Column("claim_id", Uuid),  # kept in terminal states: it tells a lost answer from a lost claim
    Column("consumer_id", Uuid),
    Column("run_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("updated_at", DateTime(timezone=True)),
    CheckConstraint("status IN ('pending', 'processing', 'completed', 'failed', 'canceled')", name="status_known"),
    CheckConstraint(
        "status <> 'processing' OR (claim_id IS NOT NULL AND consumer_id IS NOT NULL)", name="processing_is_claimed"
    ),
    # Every index that names status costs each change of status a write, so there are few, over live rows only.
    Index("tasks_due", "run_at", postgresql_where=text("status = 'pending'")),
    Index("tasks_suspect", "run_at", postgresql_where=text("status = 'pending' AND lost_count >= 2")),
    Index("tasks_processing", "consumer_id", postgresql_where=text("status = 'processing'")),
    # Room on each page for the next version of a row; ended rows are never touched again.
    postgresql_with={"fillfactor": 70},
)

consumers = Table(
    "consumers",
    metadata,
    Column("id", Uuid, primary_key=True),  # fresh at each process start
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("beat_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    postgresql_with={"fillfactor": 50},  # a few rows, rewritten every beat: keep that on their own pages
)
