"""Lists of tasks: what is on a page, and what a page costs."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.core.task import Priority, TaskStatus
from app.core.task_filter import HIGHEST_ID, TaskFilter, Visible, first_id
from app.db.engine import Database
from app.queue import select
from app.queue.select import MOST_READ, select_tasks
from tests.support.types import Connection

EVERYBODYS = Visible(is_all=True)
START = datetime(2026, 1, 1, tzinfo=UTC)

# 100,000 tasks, one each 10 ms: a failed one in 1,000, a running one in 10,000, of 100 customers and 10 tenants.
FILL = """
INSERT INTO tasks (id, kind, content, status, created_at, finished_at, claim_id, consumer_id, priority, tenant)
SELECT (lpad(to_hex(1767225600000 + n * 10), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
        || substr(md5(n::text), 4, 15))::uuid,
    CASE WHEN n % 50000 = 7 THEN 'rare' ELSE 'simulate' END, json_build_object('customer', (n % 100)::text), status,
    to_timestamp(1767225600 + n * 0.01), CASE WHEN status <> 'processing' THEN to_timestamp(1767225601 + n * 0.01) END,
    gen_random_uuid(), gen_random_uuid(), n % 3, CASE WHEN n % 10 < 5 THEN 't' || n % 10 END
FROM generate_series(0, 99999) AS n CROSS JOIN LATERAL (SELECT CASE
    WHEN n % 1000 = 1 THEN 'failed' WHEN n % 1000 = 2 THEN 'canceled' WHEN n % 10000 = 3 THEN 'processing'
    ELSE 'completed' END AS status) AS chosen
"""

FILTERS = {
    "all": TaskFilter(),
    "failed": TaskFilter(statuses=(TaskStatus.FAILED,)),
    "failed and canceled": TaskFilter(statuses=(TaskStatus.FAILED, TaskStatus.CANCELED)),
    "running": TaskFilter(statuses=(TaskStatus.PROCESSING,)),
    "a rare kind": TaskFilter(kinds=("rare",)),
    "a kind that there is not": TaskFilter(kinds=("none",)),
    "a customer": TaskFilter(content={"customer": "17"}),
    "high and failed": TaskFilter(statuses=(TaskStatus.FAILED,), priority=Priority.HIGH),
    "an hour of creation": TaskFilter(created_after=START, created_before=START + timedelta(seconds=500)),
    "an hour of ends": TaskFilter(finished_after=START, finished_before=START + timedelta(seconds=500)),
    "all of it": TaskFilter(
        statuses=(TaskStatus.COMPLETED,),
        kinds=("simulate", "rare"),
        priority=Priority.NORMAL,
        created_after=START,
        created_before=START + timedelta(seconds=900),
        finished_after=START,
        finished_before=START + timedelta(seconds=800),
        content={"customer": "18"},
    ),
}
VISIBLE = {"everybody's": EVERYBODYS, "a tenant's": Visible(False, "t3"), "no tenant's": Visible(False, None)}


async def _all_ids(database: Database, wanted: TaskFilter, visible: Visible, limit: int = 200) -> list[UUID]:
    """Page by page to the end."""
    found: list[UUID] = []
    before: UUID | None = None
    while True:
        page = await select_tasks(database, wanted, visible, before, limit)
        assert len(page.tasks) <= limit
        found += [task.id for task in page.tasks]
        if page.before is None:
            return found
        assert before is None or page.before < before
        before = page.before


def _matches(wanted: TaskFilter, visible: Visible, row: Iterable[object]) -> bool:
    """The same filter once more, in Python."""
    task_id, status, kind, priority, finished_at, customer, tenant = row
    assert isinstance(task_id, UUID)
    return (
        (not wanted.statuses or status in wanted.statuses)
        and (not wanted.kinds or kind in wanted.kinds)
        and (wanted.priority is None or priority == wanted.priority)
        and (wanted.created_after is None or task_id >= first_id(wanted.created_after))
        and (wanted.created_before is None or task_id < first_id(wanted.created_before))
        and (
            wanted.finished_after is None
            or (isinstance(finished_at, datetime) and finished_at >= wanted.finished_after)
        )
        and (
            wanted.finished_before is None
            or (isinstance(finished_at, datetime) and finished_at < wanted.finished_before)
        )
        and (not wanted.content or customer == wanted.content["customer"])
        and (visible.is_all or tenant == visible.tenant)
    )


async def test_pages_together_are_what_the_filter_asks_for(database: Database, sql: Connection) -> None:
    """Every filter, for everybody, a tenant and those without: each task once, newest first, none left out."""
    await sql.execute(FILL)
    rows = await sql.fetch(
        "SELECT id, status, kind, priority, finished_at, content ->> 'customer', tenant FROM tasks ORDER BY id DESC"
    )
    for name, wanted in FILTERS.items():
        for whose, visible in VISIBLE.items():
            expected = [row[0] for row in rows if _matches(wanted, visible, row.values())]
            assert await _all_ids(database, wanted, visible) == expected, f"{name}, {whose}"


async def test_a_callback_with_a_nul_stops_no_search(database: Database, sql: Connection) -> None:
    """It tells a handler's result, which PostgreSQL keeps as JSON and can't give out as text: it is passed over."""
    rows = [
        ("callback", r'{"customer": "17", "result": "a\u0000b"}'),
        ("simulate", r'{"customer": "17", "x": "\\u0000"}'),
    ]
    await sql.executemany("INSERT INTO tasks (id, kind, content) VALUES (gen_random_uuid(), $1, $2::text::json)", rows)
    page = await select_tasks(database, TaskFilter(content={"customer": "17"}), EVERYBODYS, None, 10)
    assert [task.kind for task in page.tasks] == ["simulate"]


@pytest.mark.parametrize("history", ["empty when analyzed, then filled", "filled, then analyzed"])
async def test_a_page_costs_the_same_wherever_it_is(history: str, database: Database, sql: Connection) -> None:
    """By the pages of the table and its indexes that are read, of 100,000 tasks: for the first page, and far down.

    What a page finds at once is a few of them, and no filter has more rows read than MOST_READ.
    """
    if history == "empty when analyzed, then filled":
        await sql.execute("ANALYZE tasks")
    await sql.execute(FILL)
    if history == "filled, then analyzed":
        await sql.execute("VACUUM ANALYZE tasks")
    far_down = first_id(START + timedelta(seconds=300))
    async with database.connection() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        for name, wanted in FILTERS.items():
            for whose, visible in VISIBLE.items():
                case = f"{name}, {whose}"
                walk = await select._walk(database, wanted, visible)
                await connection.execute(f"PREPARE page AS {select._TASKS[walk]}")
                for before in (HIGHEST_ID, far_down):
                    values = ", ".join(map(_literal, select._arguments(wanted, visible, before, 50, ())))
                    explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE page({values})"
                    for _ in range(2):  # the first reads the catalog as well
                        plan = [row[0] for row in await connection.fetch(explain)]
                    text = "\n".join(plan)
                    assert "Seq Scan" not in text, f"{case}: {text}"
                    rows = max(
                        int(n) for line in plan if "Scan" in line for n in re.findall(r"actual rows=(\d+)", line)
                    )
                    pages = max(sum(map(int, re.findall(r"(?:hit|read)=(\d+)", line))) for line in plan)
                    at_once = name in {"all", "failed and canceled", "running"} and visible.is_all
                    assert rows <= (120 if at_once else MOST_READ + 1), f"{case}: {text}"
                    assert pages <= (250 if at_once else 1.1 * MOST_READ), f"{case}: {text}"
                await connection.execute("DEALLOCATE page")


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value)
        case int():
            return str(int(value))
        case tuple() | list():
            return "ARRAY[" + ", ".join(f"'{item}'" for item in value) + "]::text[]"
        case _:
            return f"'{value}'"
