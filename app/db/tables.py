"""The tables and their indexes. Alembic's migrations make them; a test proves that the two agree."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

from app.core.task import TaskStatus

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
    Column("started_at", DateTime(timezone=True)),  # of the current or last attempt
    Column("finished_at", DateTime(timezone=True)),
    Column("priority", SmallInteger, nullable=False, server_default="1"),
    Column("max_attempts", Integer),  # null: as the kind says
    Column("timeout_seconds", Double),  # the same
    Column("progress", JSON),
    Column("result", JSON),
    Column("cursor", JSON),  # where the last checkpoint left off
    Column("history", JSONB),  # the errors of earlier attempts, oldest first
    Column("traceparent", Text),
    Column("group_id", Uuid),
    Column("concurrency_key", Text),
    Column("concurrency_limit", Integer, nullable=False, server_default="1"),
    # A keyed task waits here until queue/admit.py lets it through; claims never look at keys.
    Column("is_blocked", Boolean, nullable=False, server_default="false"),
    Column("version", Integer, nullable=False, server_default="1"),  # one more at each change that a client can see
    Column("tenant", Text),  # only keys with the same label see the task
    Column("callback_url", Text),  # is told when the task has ended
    Column("callback_of", Uuid),  # of a task that does that: whose end it tells
    CheckConstraint("status IN ('pending', 'processing', 'completed', 'failed', 'canceled')", name="status_known"),
    CheckConstraint(
        "status <> 'processing' OR (claim_id IS NOT NULL AND consumer_id IS NOT NULL)", name="processing_is_claimed"
    ),
    # Every index that names status costs each change of status a write, so there are few, over live rows only.
    Index("tasks_due", "kind", "priority", "run_at", postgresql_where=text("status = 'pending' AND NOT is_blocked")),
    Index("tasks_suspect", "run_at", postgresql_where=text("status = 'pending' AND lost_count >= 2")),
    Index("tasks_processing", "consumer_id", postgresql_where=text("status = 'processing'")),
    Index(
        "tasks_blocked",
        *("concurrency_key", "priority", "run_at"),
        postgresql_where=text("status = 'pending' AND is_blocked"),
    ),
    # lost_count, which is never less, so that only the look for those that are due can be planned on it.
    Index(
        "tasks_blocked_due",
        "run_at",
        postgresql_where=text("status = 'pending' AND is_blocked AND lost_count >= 0"),
    ),
    Index(
        "tasks_admitted",
        "concurrency_key",
        postgresql_where=text("concurrency_key IS NOT NULL AND status IN ('pending', 'processing') AND NOT is_blocked"),
    ),
    # Each member is in one of the two. With the id, the youngest live member is found at once: queue/settle.py.
    Index(
        "tasks_group_live",
        *("group_id", text("id DESC")),
        postgresql_where=text("group_id IS NOT NULL AND status IN ('pending', 'processing')"),
    ),
    Index(
        "tasks_group_ended",
        "group_id",
        postgresql_where=text("group_id IS NOT NULL AND status IN ('completed', 'failed', 'canceled')"),
    ),
    # What is looked for most among the ended, and seldom enough to cost nothing: completed tasks are in no index.
    Index("tasks_unsuccessful", "status", "id", postgresql_where=text("status IN ('failed', 'canceled')")),
    Index("tasks_tenant", "tenant", "id", postgresql_where=text("tenant IS NOT NULL")),
    Index("tasks_callbacks", "callback_of", "id", postgresql_where=text("callback_of IS NOT NULL")),
    # Room on each page for the next version of a row; ended rows are never touched again.
    postgresql_with={"fillfactor": 70},
)

consumers = Table(
    "consumers",
    metadata,
    Column("id", Uuid, primary_key=True),  # fresh at each process start
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("kinds", ARRAY(Text), nullable=False, server_default="{}"),  # of the tasks that it claims
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("beat_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    postgresql_with={"fillfactor": 50},  # a few rows, rewritten every beat: keep that on their own pages
)

groups = Table(
    "groups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("on_failure", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("then_kind", Text),
    Column("then_content", JSON),
    Column("then_options", JSONB),  # the rest of what was said of it: queue/then.py
    Column("then_id", Uuid),  # the id that the `then` task gets
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("failed_at", DateTime(timezone=True)),  # a member failed and on_failure is cancel_rest
    Column("canceled_at", DateTime(timezone=True)),  # a client canceled it: then nothing is started at its end
    Column("ended_at", DateTime(timezone=True)),  # all members have ended
    Column("tenant", Text),
    Column("callback_url", Text),
    CheckConstraint("on_failure IN ('cancel_rest', 'continue')", name="on_failure_known"),
    # Groups that still need somebody to look at them; and those whose live members are to be canceled.
    Index("groups_open", "id", postgresql_where=text("ended_at IS NULL")),
    Index(
        "groups_stopping",
        "id",
        postgresql_where=text("ended_at IS NULL AND (failed_at IS NOT NULL OR canceled_at IS NOT NULL)"),
    ),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("id", Uuid, nullable=False),  # fresh when it is made: with the tick, it makes the id of the tick's task
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("content", JSON, nullable=False),
    Column("missed", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("is_declared", Boolean, nullable=False),  # in SCHEDULES_FILE, so the API does not change it
    Column("next_run_at", DateTime(timezone=True), nullable=False),
    Column("last_run_at", DateTime(timezone=True)),  # the last tick that made a task
    Column("last_task_id", Uuid),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("updated_at", DateTime(timezone=True)),
    CheckConstraint("missed IN ('skip', 'run_once')", name="missed_known"),
    CheckConstraint("isfinite(next_run_at)", name="next_run_at_finite"),  # PostgreSQL's infinity is no time in Python
    Index("schedules_due", "next_run_at", postgresql_where=text("enabled")),
)

# What an Idempotency-Key has made, so that the same request again makes nothing.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # digest of who sent it, to which path, and the key
    Column("fingerprint", LargeBinary, nullable=False),  # digest of the body
    Column("ids", ARRAY(Uuid), nullable=False),  # of what was made, in the order of the body
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Index("idempotency_keys_age", "created_at"),
)

# Queues that somebody has paused or resumed; any other is as its handlers say, and runs.
queues = Table(
    "queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("paused_at", DateTime(timezone=True)),
    Column("kinds", ARRAY(Text), nullable=False, server_default="{}"),  # that it had when it was paused
)

# Where each walk through a whole table is: queue/prune.py.
walks = Table(
    "walks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_id", Uuid, nullable=False, server_default="00000000-0000-0000-0000-000000000000"),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=_NOW),  # for whoever comes
    Column("holder", Uuid),  # the consumer that goes on before that
)

# Made once, by the migration, and known to every process: what signs cursors.
secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# Tasks by kind and status: the sums of the two are exact in every snapshot (docs/decisions/0009). Triggers on tasks
# append to task_deltas; queue/counts.py folds these into task_counts.
task_counts = Table(
    "task_counts",
    metadata,
    Column("kind", Text, primary_key=True),
    *(Column(status, BigInteger, nullable=False) for status in TaskStatus),
    Column("created", BigInteger, nullable=False),  # these two only ever grow
    Column("ended", BigInteger, nullable=False),
)
task_deltas = Table(
    "task_deltas",
    metadata,
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("number", Integer, nullable=False),  # so many more, or fewer, have it
    Column("created", Integer, nullable=False, server_default="0"),  # so many of these are new
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
)

# The last hour, by the minute.
task_rates = Table(
    "task_rates",
    metadata,
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),  # the first of them
)
