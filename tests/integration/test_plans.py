"""Each statement finds its rows by the index it was written for, whatever statistics say."""

import re

import pytest

from app.db.engine import Database
from app.queue import cancel, claim, finish, read, recover, schedule, tick

PLANS = {
    "read": (read._SELECT, 1, {"tasks_pkey"}),
    "claim by id": (claim._BY_ID, 3, {"tasks_pkey", "consumers_pkey"}),
    "claim due": (claim._DUE, 4, {"tasks_due", "tasks_pkey", "consumers_pkey"}),
    "claim suspects": (claim._SUSPECTS, 3, {"tasks_suspect", "tasks_pkey", "consumers_pkey"}),
    "complete": (finish._COMPLETE, 3, {"tasks_pkey"}),
    "fail": (finish._FAIL, 3, {"tasks_pkey", "groups_pkey"}),
    "release": (finish._RELEASE, 2, {"tasks_pkey"}),
    "written by us": (finish._WRITTEN_BY_US, 3, {"tasks_pkey"}),
    "cancel": (cancel._CANCEL, 1, {"tasks_pkey"}),
    "held rows": (recover._HELD_ROWS, 1, {"tasks_processing"}),
    "recover": (recover._RECOVER, 2, {"tasks_processing", "tasks_pkey", "groups_pkey"}),
    "due schedules": (tick._DUE, 2, {"schedules_due"}),
    "tick": (tick._TICK, 9, {"schedules_pkey"}),
    "read a schedule": (schedule._READ, 1, {"schedules_pkey"}),
    "list schedules": (schedule._LIST, 2, {"schedules_pkey"}),
}

FILL = """
INSERT INTO tasks (id, kind, content, status, claim_id, consumer_id)
SELECT gen_random_uuid(), 'simulate', '1', status, gen_random_uuid(), gen_random_uuid()
FROM generate_series(1, 1000), unnest(ARRAY['completed', 'completed', 'completed', 'pending', 'processing']) AS status
"""


@pytest.mark.parametrize("history", ["empty", "empty when analyzed, then filled", "filled, then analyzed"])
async def test_statements_use_their_indexes(history: str, database: Database) -> None:
    """A plan that scans, or that looks into an index of live rows once for each id, stops the queue under load."""
    async with database.connection() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        if history == "empty when analyzed, then filled":
            await connection.execute("ANALYZE tasks")
        if history != "empty":
            await connection.execute(FILL)
        if history == "filled, then analyzed":
            await connection.execute("ANALYZE tasks")
        for name, (statement, parameters, allowed) in PLANS.items():
            await connection.execute(f"PREPARE checked AS {statement}")
            nulls = ", ".join(["NULL"] * parameters)
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE checked({nulls})"))
            await connection.execute("DEALLOCATE checked")
            used = set(re.findall(r"Index(?: Only)? Scan (?:using|on) (\w+)", plan))
            assert used <= allowed, f"{name}: {plan}"
            assert "Seq Scan" not in plan, f"{name}: {plan}"
