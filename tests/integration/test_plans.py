"""Each statement finds its rows by the index it was written for, whatever statistics say."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest

from app.db.engine import Database
from app.queue import (
    admit,
    cancel,
    cancel_group,
    claim,
    counts,
    create_batch,
    create_group,
    create_keyed,
    delete,
    deliveries,
    finish,
    idempotency,
    pause,
    progress,
    prune,
    queues,
    read,
    read_group,
    recover,
    retry,
    schedule,
    select,
    settle,
    spawn,
    tick,
    versions,
    why,
)
from tests.support.types import Connection

PLANS = {
    "read": (read._SELECT, 1, {"tasks_pkey"}),
    "claim by id": (claim._BY_ID, 3, {"tasks_pkey", "consumers_pkey"}),
    "claim due": (claim._DUE, 4, {"tasks_due", "tasks_pkey", "consumers_pkey"}),
    "claim suspects": (claim._SUSPECTS, 3, {"tasks_suspect", "tasks_pkey", "consumers_pkey"}),
    "complete": (finish._COMPLETE, 3, {"tasks_pkey"}),
    "complete and tell": (finish._COMPLETE_AND_TELL, 3, {"tasks_pkey"}),
    "fail": (finish._FAIL, 3, {"tasks_pkey", "groups_pkey"}),
    "release": (finish._RELEASE, 2, {"tasks_pkey"}),
    "cancel many": (cancel._CANCEL_MANY, 1, {"tasks_pkey"}),
    "count canceled": (cancel._COUNT, 1, {"tasks_pkey"}),
    "reopen many": (retry._REOPEN_ALL, 1, {"tasks_pkey"}),
    "count reopened": (retry._COUNT, 1, {"tasks_pkey"}),
    "delete": (delete._DELETE, 1, {"tasks_pkey", "groups_pkey", "groups_open"}),
    "prune tasks": (prune._TASKS, 5, {"tasks_pkey", "groups_pkey", "groups_open", "walks_pkey"}),
    "prune groups": (prune._GROUPS, 3, {"groups_pkey", "tasks_group_live", "tasks_group_ended", "walks_pkey"}),
    "are few": (select._ARE_FEW, 1, {"tasks_processing", "tasks_due", "tasks_blocked"}),
    "written by us": (finish._WRITTEN_BY_US, 3, {"tasks_pkey"}),
    "retry": (finish._RETRY, 4, {"tasks_pkey"}),
    "snooze": (finish._SNOOZE, 3, {"tasks_pkey"}),
    "reopen": (retry._REOPEN, 1, {"tasks_pkey"}),
    "progress": (progress._PROGRESS, 3, {"tasks_pkey"}),
    "checkpoint": (progress._CHECKPOINT, 4, {"tasks_pkey"}),
    "admit": (admit._ADMIT, 1, {"tasks_blocked", "tasks_admitted", "tasks_pkey"}),
    "take back": (admit._TAKE_BACK, 1, {"tasks_admitted", "tasks_pkey"}),
    "waiting keys": (admit._WAITING_KEYS, 2, {"tasks_blocked"}),
    "cancel": (cancel._CANCEL, 1, {"tasks_pkey"}),
    "wait and cancel many": (cancel._WAIT_AND_CANCEL_MANY, 1, {"tasks_pkey"}),
    "held rows": (recover._HELD_ROWS, 1, {"tasks_processing"}),
    "read group": (read_group._SELECT, 1, {"groups_pkey", "tasks_group_live", "tasks_group_ended"}),
    "versions": (
        versions._VERSIONS,
        2,
        {"tasks_pkey", "groups_pkey", "tasks_group_live", "tasks_group_ended"},
    ),
    "create group": (create_group._CREATE, 23, set()),
    "create group by key": (create_group._CREATE_KEYED, 27, set()),
    "create by key": (create_keyed._CREATE_PLAIN, 8, set()),
    "create by key, with options": (create_keyed._CREATE, 19, set()),
    "create batch": (create_batch._CREATE_PLAIN, 5, set()),
    "create batch, with options": (create_batch._CREATE_FULL, 14, set()),
    "create batch by key": (create_batch._CREATE_PLAIN_KEYED, 9, set()),
    "create batch by key, with options": (create_batch._CREATE_FULL_KEYED, 18, set()),
    "time of a batch": (create_batch._CREATED_AT, 1, {"tasks_pkey"}),
    "forget keys": (idempotency._FORGET, 1, {"idempotency_keys_age", "idempotency_keys_pkey"}),
    "group is due": (settle._DUE, 1, {"groups_pkey", "groups_open", "tasks_group_live"}),
    "cancel rest": (
        settle._CANCEL_REST,
        1,
        {"groups_pkey", "groups_open", "groups_stopping", "tasks_group_live", "tasks_pkey"},
    ),
    "end group": (settle._END, 1, {"groups_pkey", "groups_open", "tasks_group_live", "tasks_group_ended"}),
    "mark canceled": (cancel_group._MARK, 1, {"groups_pkey", "groups_open"}),
    "stopping groups": (settle._STOPPING, 0, {"groups_stopping"}),
    "open groups": (settle._OPEN, 1, {"groups_open"}),
    "spawn": (spawn._SPAWN, 16, {"tasks_pkey"}),
    "spawn group": (spawn._SPAWN_GROUP, 25, {"tasks_pkey"}),
    "deliveries": (deliveries._SELECT, 1, {"tasks_callbacks"}),
    "repeat a delivery": (deliveries._REPEAT, 1, {"tasks_callbacks"}),
    "recover": (recover._RECOVER, 2, {"tasks_processing", "tasks_pkey", "groups_pkey"}),
    "due schedules": (tick._DUE, 2, {"schedules_due"}),
    "tick": (tick._TICK, 9, {"schedules_pkey"}),
    "read a schedule": (schedule._READ, 1, {"schedules_pkey"}),
    "loads": (counts.READ_LOADS, 0, {"task_rates_pkey"}),
    "fold": (counts._FOLD, 1, {"task_rates_pkey", "task_counts_pkey"}),
    "pause": (pause._SET, 3, set()),
    "oldest": (queues._OLDEST, 1, {"tasks_due"}),
    "why": (why._TASK, 1, {"tasks_pkey", "consumers_pkey"}),
    "ahead": (why._AHEAD, 4, {"tasks_due"}),
    "held places": (why._HELD, 1, {"tasks_admitted"}),
    "ahead for its key": (why._AHEAD_FOR_KEY, 4, {"tasks_blocked"}),
    "list schedules": (schedule._LIST, 2, {"schedules_pkey"}),
}
WALKS = {
    "id": {"tasks_pkey"},
    "tenant": {"tasks_tenant"},
    "status": {"tasks_unsuccessful"},
    "group": {"tasks_group_live", "tasks_group_ended"},
    "life": {"tasks_processing", "tasks_due", "tasks_blocked", "tasks_pkey"},
}
PLANS |= {f"list by {walk}": (select._TASKS[walk], 14, indexes) for walk, indexes in WALKS.items()}
PLANS |= {f"ids by {walk}": (select._IDS[walk], 14, indexes) for walk, indexes in WALKS.items()}

SMALL = "consumers|queues|task_counts|task_deltas|task_rates"  # of these there are a few rows

FILL = """
INSERT INTO tasks (id, kind, content, status, claim_id, consumer_id)
SELECT gen_random_uuid(), 'simulate', '1', status, gen_random_uuid(), gen_random_uuid()
FROM generate_series(1, 1000), unnest(ARRAY['completed', 'completed', 'completed', 'pending', 'processing']) AS status
"""

# Two groups of 10,000 members; 1,000 small ones; and 1,000 that have ended.
FILL_GROUPS = """
WITH size AS (SELECT gen_random_uuid() AS id, n, CASE WHEN n <= 2 THEN 10000 ELSE 1 END AS total
    FROM generate_series(1, 2002) AS n
), made AS (
    INSERT INTO groups (id, on_failure, total, ended_at)
    SELECT id, 'cancel_rest', total, CASE WHEN n > 1002 THEN now() END FROM size
)
INSERT INTO tasks (id, kind, content, status, claim_id, consumer_id, group_id)
SELECT gen_random_uuid(), 'simulate', '1',
    CASE WHEN n > 1002 THEN 'completed' ELSE (ARRAY['completed', 'pending', 'processing', 'failed'])[1 + m % 4] END,
    gen_random_uuid(), gen_random_uuid(), id
FROM size, generate_series(1, total) AS m
"""


# One key has nearly all that wait, and most of it is not due.
FILL_KEYED = """
INSERT INTO tasks (id, kind, content, concurrency_key, is_blocked, run_at)
SELECT gen_random_uuid(), 'simulate', '1', CASE WHEN n < 4900 THEN 'k' ELSE 'k' || n END, true,
    now() + CASE WHEN n % 5 = 0 THEN interval '0' ELSE interval '1 day' END FROM generate_series(1, 5000) AS n
"""

# Nearly every task has told its end.
FILL_DELIVERIES = """
INSERT INTO tasks (id, kind, content, status, callback_of)
SELECT gen_random_uuid(), 'callback', '{"url" : "u"}', 'completed', id FROM tasks WHERE status = 'completed'
"""


@pytest.mark.parametrize("history", ["empty", "empty when analyzed, then filled", "filled, then analyzed"])
async def test_statements_use_their_indexes(history: str, database: Database) -> None:
    """A plan that scans, or that looks into an index of live rows once for each id, stops the queue under load."""
    async with database.connection() as connection:
        if history == "empty when analyzed, then filled":
            await connection.execute("ANALYZE tasks, groups")
        if history != "empty":
            await connection.execute(FILL)
            await connection.execute(FILL_KEYED)
            await connection.execute(FILL_GROUPS)
            await connection.execute(FILL_DELIVERIES)
        if history == "filled, then analyzed":
            await connection.execute("ANALYZE tasks, groups")
        for name, (statement, parameters, allowed) in PLANS.items():
            plan = await _plan(connection, statement, parameters)
            used = set(re.findall(r"Index(?: Only)? Scan(?: Backward)? (?:using|on) (\w+)", plan))
            assert used <= allowed, f"{name}: {plan}"
            assert not re.search(rf"Seq Scan on (?!{SMALL})", plan), f"{name}: {plan}"


async def test_plans_that_are_made_while_there_are_no_tasks_stay_good(database: Database, sql: Connection) -> None:
    """A connection keeps its plans: one that reads all of an empty table would read all of millions of rows later."""
    await sql.execute("VACUUM ANALYZE tasks")
    await sql.execute("VACUUM ANALYZE groups")
    async with database.connection() as connection:
        for name, (statement, parameters, _) in PLANS.items():
            plan = await _plan(connection, statement, parameters)
            assert not re.search(r"_pkey on (tasks|groups)( \w+)?  \(.*\)\n(?! *Index Cond)", plan), f"{name}: {plan}"


async def _plan(connection: Connection, statement: str, parameters: int) -> str:
    """As a connection of the queue keeps it, whatever its arguments are."""
    await connection.execute(f"PREPARE checked AS {statement}")
    arguments = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE checked{arguments}"))
    await connection.execute("DEALLOCATE checked")
    return plan


FAR_FUTURE = """
INSERT INTO tasks (id, kind, content, run_at, concurrency_key, is_blocked)
SELECT gen_random_uuid(), 'simulate', '1', now() + interval '30 days', CASE WHEN n % 2 = 0 THEN 'k' || n % 100 END,
    n % 2 = 0 FROM generate_series(1, 100000) AS n
"""


async def test_tasks_of_the_far_future_cost_an_idle_consumer_nothing(database: Database, sql: Connection) -> None:
    """With 100,000 of them, half with keys, its claim and its look at what else there is read a handful of pages."""
    await sql.execute(FAR_FUTURE)
    statements: dict[str, tuple[str, list[object]]] = {
        "claim": (claim._DUE, [uuid4(), 100, ["simulate"] * 3, [0, 1, 2]]),
        "look": (recover._LOOK, [timedelta(seconds=10), ["simulate"]]),
    }
    for name, (statement, arguments) in statements.items():
        for _ in range(2):  # the first reads the catalog as well
            plan = "\n".join(
                row[0]
                for row in await database.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {statement}", *arguments)
            )
        pages = max(sum(map(int, re.findall(r"\w+=(\d+)", line))) for line in plan.splitlines() if "Buffers:" in line)
        assert pages < 60, f"{name}: {plan}"
