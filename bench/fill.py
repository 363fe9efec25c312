"""Tasks that only stand in the table: how they come to be there.

Those that have ended have lived: each is a row that was created, claimed and finished, in batches with a COMMIT after
each change, though by one session. Rows written as they are at last leave the table as no service does: a page that is
as full as such rows may make it has room for one row more of a new task, which is shorter. New tasks then lie one on
a page, and each change of one cleans up a page of its own.
"""

from collections.abc import Awaitable, Callable

import asyncpg
import uuid_utils

Fill = Callable[[str, int], Awaitable[None]]  # the database's address, and how many

_BATCH = 100  # tasks in one statement, as many as a consumer has slots
_CHUNK = 250_000
# In the order of their ids, which begin with when they were made.
_IDS = """(lpad(to_hex((extract(epoch FROM {made}) * 1000)::bigint), 12, '0') || '7'
    || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid"""
# Of the last 29 days, half a second from one to the next: by default they are kept for 30 (docs/retention.md).
_LIVE = f"""
CREATE PROCEDURE live(many int, size int, consumer uuid) LANGUAGE plpgsql AS $$
DECLARE
    start CONSTANT timestamptz := now() - interval '29 days';
    batch uuid[];
BEGIN
    FOR low IN 1..many BY size LOOP
        WITH new AS (
            INSERT INTO tasks (id, kind, content, run_at, created_at)
            SELECT {_IDS.format(made="made")}, 'simulate', '{{"order": 17, "note": "as long as most of them are"}}',
                made, made
            FROM (
                SELECT n, start + n * interval '0.5 s' AS made
                FROM generate_series(low, least(low + size - 1, many)) AS n
            ) AS made
            RETURNING id
        )
        SELECT array_agg(id) INTO batch FROM new;
        COMMIT;
        UPDATE tasks SET status = 'processing', attempt = 1, claim_id = gen_random_uuid(), consumer_id = consumer,
            started_at = created_at, updated_at = created_at, version = 2
        WHERE id = ANY(batch);
        COMMIT;
        UPDATE tasks SET status = CASE WHEN id = batch[1] AND low % 1000 < size THEN 'failed' ELSE 'completed' END,
            finished_at = created_at, version = 3
        WHERE id = ANY(batch);
        COMMIT;
    END LOOP;
END $$
"""
# Rows by their ids, whatever statistics say, as app/db/engine.py has them; and nobody waits for the disk.
_SESSION = {"enable_seqscan": "off", "enable_bitmapscan": "off", "synchronous_commit": "off"}
# Of a year ago, so that whoever deletes old tasks has to pass them. Every other one keyed, of 1,000 keys.
_DELAYED = f"""
INSERT INTO tasks (id, kind, content, run_at, concurrency_key, is_blocked)
SELECT {_IDS.format(made="made")}, 'simulate', '{{"order": 17}}', now() + interval '10 years' + n * interval '1 second',
    CASE n % 2 WHEN 0 THEN 'customer ' || n % 2000 END, n % 2 = 0
FROM (
    SELECT n, now() - interval '1 year' + n * interval '1 ms' AS made FROM generate_series($1::int, $2::int) AS n
) AS delayed
"""


async def fill_ended(url: str, count: int) -> None:
    """Tasks that have ended, one in 1,000 of them as failed."""
    sql = await asyncpg.connect(url, server_settings=_SESSION)
    try:
        await sql.execute(_LIVE)
        await sql.execute(f"CALL live({count}, {_BATCH}, '{uuid_utils.uuid7()}')")
        await sql.execute("DROP PROCEDURE live")
    finally:
        await sql.close()


async def fill_delayed(url: str, count: int) -> None:
    """Tasks that are due in ten years: nothing has happened to them but that they were created."""
    sql = await asyncpg.connect(url)
    try:
        for first in range(1, count + 1, _CHUNK):
            await sql.execute(_DELAYED, first, min(first + _CHUNK - 1, count))
    finally:
        await sql.close()
