"""Effects once: rows written through checkpoints, whatever happens to the consumers that write them."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.processes import Service, service
from tests.support.types import Connection
from tests.support.waiting import until

QUICK = {
    "beat_seconds": 0.3,
    "lease_seconds": 1.2,
    "poll_seconds": 0.3,
    "max_lost": 100,
    "handler_modules": "tests.handlers.work",
}
ROWS, STEP, FAULTS = 10_000, 100, 4

# Every change of the task's progress and cursor, as it was committed.
AUDIT = """
CREATE TABLE numbers (n int);
CREATE TABLE seen (at bigserial, done float, cursor int);
CREATE FUNCTION note() RETURNS trigger AS $$ BEGIN
    INSERT INTO seen (done, cursor) VALUES ((NEW.progress ->> 'done')::float, NEW.cursor::text::int);
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER note AFTER UPDATE OF progress ON tasks FOR EACH ROW EXECUTE FUNCTION note();
"""


async def _holder(sql: Connection) -> int | None:
    """The process that holds the task; None while nobody does."""
    pid: int | None = await sql.fetchval("SELECT pid FROM consumers JOIN tasks ON tasks.consumer_id = consumers.id")
    return pid if pid and _is_alive(pid) else None


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended, perhaps between opening and reading
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "T", "X"}


async def _written(sql: Connection) -> int:
    return int(await sql.fetchval("SELECT coalesce(max(cursor), 0) FROM seen"))


async def _disturb(taskmill: Service, sql: Connection, task_id: str) -> int:
    """Kill or freeze whoever holds the task, in turns, each time after it has written some more; how often."""
    frozen: list[int] = []
    for fault in range(FAULTS):
        before = await _written(sql)

        async def has_moved(before: int = before) -> bool:
            return await _holder(sql) is not None and before + 3 * STEP <= await _written(sql)

        await until(has_moved, 30)
        holder = await _holder(sql)
        if holder is None or (await taskmill.get(task_id))["status"] != "processing":
            continue
        if fault % 2:
            os.kill(holder, signal.SIGSTOP)
            frozen.append(holder)
        else:
            os.kill(holder, signal.SIGKILL)
            taskmill.launch_consumer()

        async def is_taken_over(holder: int = holder) -> bool:
            return await _holder(sql) not in {None, holder}

        await until(is_taken_over, 30)
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)  # a zombie, in the middle of what it was doing
            taskmill.launch_consumer()  # it will find that it is dead
        frozen.clear()
    return fault + 1


@pytest.mark.parametrize("kind", ["number_rows", "number_rows_in_child"])
async def test_each_row_is_written_once(database_url: str, redis_url: str, sql: Connection, kind: str) -> None:
    """10,000 rows in checkpoints of 100, under SIGKILL and SIGSTOP of whoever writes them."""
    await sql.execute(AUDIT)
    async with service(database_url, redis_url, **QUICK) as taskmill:
        for _ in range(2):
            await taskmill.start_consumer()
        task = await taskmill.create({"rows": ROWS, "step": STEP, "pause": 0.05}, kind=kind)
        assert await _disturb(taskmill, sql, task["id"]) == FAULTS
        await taskmill.reaches(task["id"], "completed", 60)
        view = await taskmill.get(task["id"])
    assert await sql.fetchval("SELECT count(*) FROM numbers") == ROWS
    assert await sql.fetchval("SELECT count(DISTINCT n) FROM numbers") == ROWS
    assert await sql.fetchval("SELECT min(n) = 1 AND max(n) = $1 FROM numbers", ROWS)
    seen = [(row["done"], row["cursor"]) for row in await sql.fetch("SELECT done, cursor FROM seen ORDER BY at")]
    assert seen == sorted(seen)
    assert view["progress"] == {"done": ROWS, "total": ROWS, "message": None}
    assert view["attempt"] > FAULTS / 2
