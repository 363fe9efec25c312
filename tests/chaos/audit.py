"""A record of each change of each task, made by PostgreSQL itself in the transaction of the change; and its reading."""

import json
from collections.abc import AsyncIterator

import asyncpg

from tests.chaos.history import Effect, History, Transition
from tests.support.types import Connection

_PREFETCH = 5_000  # rows of one round trip

# A row's changes are made one after another, each while its lock is held, so their numbers are in that order (the
# sequence caches none). `at` is the time of the change, a little before its COMMIT.
_INSTALL = """
CREATE TABLE effects (
    task uuid NOT NULL,
    n integer NOT NULL,
    claim uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE TABLE cursors (xid xid8 NOT NULL, task uuid NOT NULL, claim uuid, status text NOT NULL);

CREATE TABLE leases (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    consumer uuid NOT NULL,
    is_over boolean NOT NULL
);

CREATE TABLE audit (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    task uuid NOT NULL,
    old text,
    new text NOT NULL,
    old_claim uuid,
    claim uuid,
    old_consumer uuid,
    consumer uuid,
    attempt integer NOT NULL,
    lost_count integer NOT NULL,
    error_code text,
    message text,
    version integer NOT NULL,
    run_at timestamptz NOT NULL,
    was_blocked boolean NOT NULL DEFAULT false
);

CREATE FUNCTION audit_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, task, new, claim, consumer, attempt, lost_count, version, run_at)
    VALUES (clock_timestamp(), NEW.id, NEW.status, NEW.claim_id, NEW.consumer_id, NEW.attempt, NEW.lost_count,
        NEW.version, NEW.run_at);
    RETURN NULL;
END $$;

-- The error of an attempt that is followed by another has gone to the history.
CREATE FUNCTION audit_update() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    error jsonb := CASE
        WHEN NEW.status IN ('failed', 'canceled') THEN NEW.error
        WHEN OLD.status = 'processing' AND NEW.history IS DISTINCT FROM OLD.history THEN NEW.history -> -1
    END;
BEGIN
    INSERT INTO audit (at, task, old, new, old_claim, claim, old_consumer, consumer, attempt, lost_count, error_code,
        message, version, run_at, was_blocked)
    VALUES (clock_timestamp(), NEW.id, OLD.status, NEW.status, OLD.claim_id, NEW.claim_id, OLD.consumer_id,
        NEW.consumer_id, NEW.attempt, NEW.lost_count, error ->> 'code', error ->> 'message', NEW.version, NEW.run_at,
        OLD.is_blocked);
    RETURN NULL;
END $$;

CREATE FUNCTION audit_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, task, old, new, old_claim, old_consumer, attempt, lost_count, version, run_at)
    VALUES (clock_timestamp(), OLD.id, OLD.status, 'deleted', OLD.claim_id, OLD.consumer_id, OLD.attempt,
        OLD.lost_count, OLD.version, OLD.run_at);
    RETURN NULL;
END $$;

CREATE FUNCTION note_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cursors VALUES (pg_current_xact_id(), NEW.id, NEW.claim_id, NEW.status);
    RETURN NULL;
END $$;

CREATE FUNCTION note_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO leases (consumer, is_over) VALUES (coalesce(NEW.id, OLD.id), TG_OP = 'DELETE');
    RETURN NULL;
END $$;

CREATE TRIGGER audit_insert AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION audit_insert();

-- Ended rows are left alone but for a retry: there each change counts, whatever it changes.
CREATE TRIGGER audit_update AFTER UPDATE ON tasks FOR EACH ROW
WHEN (OLD.status IN ('completed', 'failed', 'canceled')
    OR (OLD.status, OLD.claim_id, OLD.consumer_id, OLD.attempt, OLD.lost_count)
    IS DISTINCT FROM (NEW.status, NEW.claim_id, NEW.consumer_id, NEW.attempt, NEW.lost_count))
EXECUTE FUNCTION audit_update();

CREATE TRIGGER audit_delete AFTER DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION audit_delete();

CREATE TRIGGER note_cursor AFTER UPDATE ON tasks FOR EACH ROW
WHEN (OLD.cursor::text IS DISTINCT FROM NEW.cursor::text) EXECUTE FUNCTION note_cursor();

-- Each beat, and the end of each.
CREATE TRIGGER note_lease AFTER INSERT OR UPDATE OR DELETE ON consumers FOR EACH ROW EXECUTE FUNCTION note_lease();
"""

_TRANSITIONS = """
SELECT seq, extract(epoch FROM at)::float8, task, coalesce(old, ''), new,
    coalesce(old_claim::text, ''), coalesce(claim::text, ''),
    coalesce(old_consumer::text, ''), coalesce(consumer::text, ''),
    attempt, lost_count, coalesce(error_code, ''), coalesce(message, ''), version, extract(epoch FROM run_at)::float8,
    was_blocked
FROM audit ORDER BY seq
"""
_EFFECTS = """
SELECT effects.task, n, effects.claim, extract(epoch FROM at)::float8, coalesce(cursors.claim::text, ''),
    coalesce(cursors.status, '')
FROM effects LEFT JOIN cursors USING (xid, task)
"""


async def install(sql: Connection) -> None:
    """Keep a record from here on. The schema must be there (app.db.migrate)."""
    await sql.execute(_INSTALL)


async def read_audit(sql: Connection, history: History) -> None:
    """Fill in what PostgreSQL knows: transitions, tasks, groups and effects, of one moment.

    Ids are text, JSON is parsed, other columns are as asyncpg has them.
    """
    await sql.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")
    for name in ("json", "jsonb"):
        await sql.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads, format="text")
    async with sql.transaction(isolation="repeatable_read", readonly=True):
        history.transitions = [Transition(*row) async for row in _rows(sql, _TRANSITIONS)]
        history.tasks = [dict(row) async for row in _rows(sql, "SELECT * FROM tasks ORDER BY id")]
        history.groups = [dict(row) async for row in _rows(sql, "SELECT * FROM groups ORDER BY id")]
        history.effects = [Effect(*row) async for row in _rows(sql, _EFFECTS)]


def _rows(sql: Connection, query: str) -> AsyncIterator[asyncpg.Record]:
    return sql.cursor(query, prefetch=_PREFETCH).__aiter__()
