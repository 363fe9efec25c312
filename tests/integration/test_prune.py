"""Old tasks go, and nothing else does; at a cost that follows what there is to delete."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.consumer.heartbeat import Lease
from app.consumer.pruner import Pruner
from app.core.errors import NotDeletableError
from app.core.events import GroupsPruned, TaskDeleted, TasksPruned
from app.core.retention import Retention
from app.core.task_filter import first_id
from app.db.engine import Database
from app.queue import prune
from app.queue.delete import delete_task
from app.queue.prune import prune_groups, prune_tasks
from tests.integration.conftest import waiting_for_a_lock
from tests.support.types import Connection
from tests.support.waiting import EventLog, until

KEPT = Retention.parse("completed=30, failed=90")

# One task a day, the oldest 200 days old, of each status; what is pending is due in a year.
FILL = """
INSERT INTO tasks (id, kind, content, status, created_at, finished_at, run_at, claim_id, consumer_id, group_id)
SELECT (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7'
        || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 4, 15))::uuid,
    'simulate', '1', status, made, CASE WHEN status NOT IN ('pending', 'processing') THEN made + interval '1 hour' END,
    now() + interval '1 year', gen_random_uuid(), gen_random_uuid(), $2
FROM (SELECT now() - make_interval(days => day::int) AS made FROM generate_series(1, 200) AS day) AS days
CROSS JOIN unnest($1::text[]) AS status
"""
ALL = ["pending", "processing", "completed", "failed", "canceled"]


async def _counts(sql: Connection) -> dict[str, int]:
    return {row[0]: row[1] for row in await sql.fetch("SELECT status, count(*) FROM tasks GROUP BY status")}


async def _round(database: Database, consumer_id: UUID) -> int:
    """Prune until the end of a round; how many tasks are deleted."""
    deleted = 0
    while (pruned := await prune_tasks(database, consumer_id, KEPT)) is not None:
        deleted += pruned.deleted
        if pruned.is_over:
            break
    return deleted


async def test_each_status_is_kept_for_its_time(database: Database, sql: Connection) -> None:
    """Of the oldest 200 days: completed ones for 30, failed ones for 90, canceled and live ones for ever."""
    await sql.execute(FILL, ALL, None)
    assert await _round(database, uuid4()) == 170 + 110
    kept = {"pending": 200, "processing": 200, "completed": 30, "failed": 90, "canceled": 200}
    assert await _counts(sql) == kept
    assert await sql.fetchval(
        "SELECT min(finished_at) > now() - interval '30 days' FROM tasks WHERE status = 'completed'"
    )


async def test_members_stay_until_their_group_has_ended(database: Database, sql: Connection) -> None:
    """Then they go, and the group itself when none is left and it is older than any task is kept."""
    group_id = first_id(datetime.now(UTC) - timedelta(days=200))
    await sql.execute("INSERT INTO groups (id, on_failure, total) VALUES ($1, 'continue', 200)", group_id)
    await sql.execute(FILL, ["completed"], group_id)
    consumer_id = uuid4()
    assert await _round(database, consumer_id) == 0
    await sql.execute("UPDATE groups SET ended_at = now() - interval '100 days'")
    await sql.execute("UPDATE walks SET due_at = now()")
    assert await _round(database, consumer_id) == 170
    pruned = await prune_groups(database, consumer_id, KEPT)
    assert pruned is not None
    assert pruned.deleted == 0
    await sql.execute("DELETE FROM tasks")
    await sql.execute("UPDATE walks SET due_at = now()")
    await sql.execute("UPDATE groups SET ended_at = now() - interval '80 days'")
    assert (await prune_groups(database, consumer_id, KEPT)) == prune.Pruned(0, is_over=True)
    await sql.execute("UPDATE groups SET ended_at = now() - interval '91 days'")
    await sql.execute("UPDATE walks SET due_at = now()")
    assert (await prune_groups(database, consumer_id, KEPT)) == prune.Pruned(1, is_over=True)


async def test_one_consumer_at_a_time_goes_on_where_the_last_one_was(database: Database, sql: Connection) -> None:
    """Also where that one has died: its turn ends, and what it has walked past is not read again."""
    for _ in range(4):
        await sql.execute(FILL, ["completed"], None)
    first, second = uuid4(), uuid4()
    pruned = await prune_tasks(database, first, KEPT)
    assert pruned == prune.Pruned(500, is_over=False)
    place = await sql.fetchval("SELECT last_id FROM walks WHERE name = 'tasks'")
    assert await prune_tasks(database, second, KEPT) is None
    async with sql.transaction():
        await sql.execute("SELECT FROM walks FOR UPDATE")  # its statement is under way
        await sql.execute("SELECT 1")
        assert await prune_tasks(database, first, KEPT) is None
    await sql.execute("UPDATE walks SET due_at = now()")
    assert await prune_tasks(database, second, KEPT) == prune.Pruned(4 * 170 - 500, is_over=True)
    assert place > UUID(int=0)
    assert await prune_tasks(database, second, KEPT) is None  # the round is over: the next one begins in a minute
    assert await prune_tasks(database, first, KEPT) is None


async def test_a_task_that_is_being_retried_stays(database: Database, sql: Connection) -> None:
    """The row is locked by the retry; once that has committed, it is no longer one that has ended."""
    await sql.execute(FILL, ["failed"], None)
    oldest = await sql.fetchval("SELECT id FROM tasks ORDER BY id LIMIT 1")
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("UPDATE tasks SET status = 'pending' WHERE id = $1", oldest)
    pruning = asyncio.create_task(_round(database, uuid4()))
    await until(lambda: waiting_for_a_lock(database))
    await transaction.commit()
    assert await pruning == 109
    assert await sql.fetchval("SELECT status FROM tasks WHERE id = $1", oldest) == "pending"


@pytest.mark.parametrize("history", ["empty when analyzed", "analyzed"])
async def test_a_million_old_delayed_tasks_are_passed_at_a_flat_cost(
    history: str, database: Database, sql: Connection
) -> None:
    """Here 100,000: each batch reads a bounded number of rows, the first and the last alike."""
    if history == "empty when analyzed":
        await sql.execute("ANALYZE tasks, groups")
    await sql.execute(
        "INSERT INTO tasks (id, kind, content, run_at) SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7'"
        " || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid, 'simulate', '1',"
        " now() + interval '1 year' FROM generate_series(1, 100000) AS n"
    )
    if history == "analyzed":
        await sql.execute("VACUUM ANALYZE tasks, groups")
    consumer_id = uuid4()
    bound = first_id(datetime.now(UTC))
    costs: list[tuple[int, int]] = []
    for _ in range(11):
        plan = [
            row[0]
            for row in await database.fetch(
                f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {prune._TASKS}",
                *(consumer_id, bound, KEPT.completed, KEPT.failed, KEPT.canceled),
            )
        ]
        text = "\n".join(plan)
        assert not re.search(r"Seq Scan on (?!walks)", text), text
        rows = max(int(n) for line in plan if "Scan" in line for n in re.findall(r"actual rows=(\d+)", line))
        costs.append((rows, max(sum(map(int, re.findall(r"(?:hit|read)=(\d+)", line))) for line in plan)))
    assert [rows for rows, _ in costs[:10]] == [10_000] * 10, text
    assert max(pages for _, pages in costs) < 1_500, costs
    assert await sql.fetchval("SELECT last_id FROM walks WHERE name = 'tasks'") == UUID(int=0)


async def test_the_pruner_says_what_a_round_came_to(database: Database, sql: Connection, events: EventLog) -> None:
    """Once, and not for each batch; between batches it pauses for nine times as long as they take."""
    for _ in range(4):
        await sql.execute(FILL, ["completed"], None)
    await sql.execute(
        "INSERT INTO groups (id, on_failure, total, ended_at) VALUES ($1, 'continue', 0, now() - interval '1 year')",
        first_id(datetime.now(UTC) - timedelta(days=400)),
    )
    pruner = Pruner(database, Lease(uuid4()), KEPT, events)
    assert 0.05 <= await pruner.prune(prune_tasks) <= 5
    assert events.of(TasksPruned) == []
    assert await pruner.prune(prune_tasks) == 60
    assert await pruner.prune(prune_groups) == 60
    assert events.of(TasksPruned) == [TasksPruned(4 * 170)]
    assert events.of(GroupsPruned) == [GroupsPruned(1)]
    assert await pruner.prune(prune_tasks) == 60
    assert len(events.of(TasksPruned)) == 1


async def test_a_client_may_delete_what_has_ended(database: Database, sql: Connection, events: EventLog) -> None:
    """But nothing that is live, and no member of an open group."""
    assert not await delete_task(database, events, uuid4())
    await sql.execute(FILL, ALL, None)
    for status in ALL:
        task_id = await sql.fetchval("SELECT id FROM tasks WHERE status = $1 LIMIT 1", status)
        if status in {"pending", "processing"}:
            with pytest.raises(NotDeletableError, match=f"is {status}"):
                await delete_task(database, events, task_id)
        else:
            assert await delete_task(database, events, task_id)
            assert not await delete_task(database, events, task_id)
    assert len(events.of(TaskDeleted)) == 3
    group_id = uuid4()
    await sql.execute("INSERT INTO groups (id, on_failure, total) VALUES ($1, 'continue', 1)", group_id)
    member = await sql.fetchval(
        "UPDATE tasks SET group_id = $1 WHERE id = (SELECT id FROM tasks WHERE status = 'failed' LIMIT 1) RETURNING id",
        group_id,
    )
    with pytest.raises(NotDeletableError, match="group"):
        await delete_task(database, events, member)
    await sql.execute("UPDATE groups SET ended_at = now()")
    assert await delete_task(database, events, member)
