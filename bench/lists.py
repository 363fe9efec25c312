"""What a page of `GET /task` costs, whichever it is: page 1 and page 10,000 of millions of tasks.

`.venv/bin/python -m bench.lists`: pages of 200, as PostgreSQL runs the statement: its time, and the pages of the table
and its indexes that it reads (8 kB each), the better of three. `--plans` prints the plans too. The last filter finds
next to nothing, so a page of it reads as many rows as one may.

Servers of its own, or those of DATABASE_URL and REDIS_URL; all tasks in that database are deleted.
"""

import argparse
import asyncio
import os
from uuid import UUID

import asyncpg

from app.core.config import DatabaseSettings, load
from app.core.task import TaskStatus
from app.core.task_filter import TaskFilter, Visible
from app.db.engine import Database
from app.queue.select import _TASKS, _arguments, _walk
from bench.servers import migrated_servers

LIMIT = 200
PAGES = (1, 10_000)
FIRST = 1_700_000_000_000  # milliseconds: of the oldest id
CHUNK = 500_000
FILL = f"""
INSERT INTO tasks (id, kind, content, status, finished_at)
SELECT (lpad(to_hex({FIRST} + n), 12, '0') || '70008000000000000000')::uuid,
    CASE WHEN n % 500000 = 0 THEN 'rare' ELSE 'simulate' END, '{{"customer": 17}}',
    CASE n % 1000 WHEN 0 THEN 'failed' ELSE 'completed' END, now()
FROM generate_series($1::bigint, $2::bigint) AS n
"""
FILTERS = {
    "none": TaskFilter(),
    "status=completed": TaskFilter(statuses=(TaskStatus.COMPLETED,)),
    "kind=rare": TaskFilter(kinds=("rare",)),
}


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.lists", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=5_000_000)
    parser.add_argument("--plans", action="store_true")
    arguments = parser.parse_args()
    with migrated_servers():
        asyncio.run(measure(arguments.tasks, plans=arguments.plans))


async def measure(tasks: int, *, plans: bool) -> None:
    """Fill the table, and explain each page."""
    sql = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", ""))
    await sql.execute("TRUNCATE tasks")
    for start in range(1, tasks + 1, CHUNK):
        await sql.execute(FILL.replace("$1", str(start)).replace("$2", str(min(start + CHUNK - 1, tasks))))
    await sql.execute("VACUUM ANALYZE tasks")
    await sql.close()
    settings = load(DatabaseSettings)
    database = Database(settings.database_url, 2, 60)
    print(f"{tasks:,} tasks, pages of {LIMIT}\n\n| filter | page | ms | pages read |\n|---|---:|---:|---:|")
    shown = []
    for name, wanted in FILTERS.items():
        for page in PAGES:
            milliseconds, read, plan = await explain(database, wanted, tasks - (page - 1) * LIMIT)
            print(f"| {name} | {page:,} | {milliseconds:.2f} | {read:,} |")
            shown.append(f"\n{name}, page {page:,}:\n{plan}")
    if plans:
        print("\n".join(shown))
    await database.close()


async def explain(database: Database, wanted: TaskFilter, newest: int) -> tuple[float, int, str]:
    """Of the page that begins with this task: milliseconds, pages read, and the plan."""
    before = UUID(f"{FIRST + newest + 1:012x}70008000000000000000")
    visible = Visible(is_all=True, tenant=None)
    walk = await _walk(database, wanted, visible)
    statement = f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {_TASKS[walk]}"
    best: tuple[float, int, str] | None = None
    for _ in range(3):
        lines = [row[0] for row in await database.fetch(statement, *_arguments(wanted, visible, before, LIMIT, ()))]
        milliseconds = float(lines[-1].split()[-2])
        buffers = next(line for line in lines if "Buffers:" in line)
        read = sum(int(part.partition("=")[2]) for part in buffers.split() if part.startswith(("hit=", "read=")))
        if best is None or milliseconds < best[0]:
            best = milliseconds, read, "\n".join(lines)
    assert best is not None
    return best


if __name__ == "__main__":
    main()
