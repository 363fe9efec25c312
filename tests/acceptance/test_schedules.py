"""Schedules, by a client of real processes."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT, Service, service
from tests.support.refusals import MARKER, Refusals
from tests.support.types import Connection
from tests.support.waiting import until
from tests.support.wire import JSON, request

QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3, "simulate_seconds": 0}
MINUTELY = {"cron": "* * * * *", "content": "hello"}
GOOD = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "kind": "simulate", "content": 1}

# What is wrong with a body, and where the answer points.
WRONG: dict[str, tuple[Any, list[str]]] = {
    "array": ([GOOD], [""]),
    "null": (None, [""]),
    "empty": ({}, ["/cron", "/content"]),
    "no cron": ({"content": 1}, ["/cron"]),
    "no content": ({"cron": "* * * * *"}, ["/content"]),
    "unknown field": (GOOD | {"retries": MARKER}, ["/retries"]),
    "name in the body": (GOOD | {"name": MARKER}, ["/name"]),
    "cron is a number": (GOOD | {"cron": 5}, ["/cron"]),
    "cron is null": (GOOD | {"cron": None}, ["/cron"]),
    "cron is a list": (GOOD | {"cron": ["*"] * 5}, ["/cron"]),
    "cron is empty": (GOOD | {"cron": ""}, ["/cron"]),
    "cron is a word": (GOOD | {"cron": MARKER}, ["/cron"]),
    "cron with a nickname": (GOOD | {"cron": "@daily"}, ["/cron"]),
    "cron with seconds": (GOOD | {"cron": "0 * * * * *"}, ["/cron"]),
    "cron with a wrong minute": (GOOD | {"cron": "60 * * * *"}, ["/cron"]),
    "cron with a wrong weekday": (GOOD | {"cron": f"0 0 * * {MARKER}"}, ["/cron"]),
    "cron of 30 February": (GOOD | {"cron": "0 0 30 2 *"}, ["/cron"]),
    "cron with a NUL": (GOOD | {"cron": "* * * * *\0"}, ["/cron"]),
    "cron is very long": (GOOD | {"cron": "0," * 100_000 + "0 * * * *"}, ["/cron"]),
    "timezone is a number": (GOOD | {"timezone": 1}, ["/timezone"]),
    "timezone is null": (GOOD | {"timezone": None}, ["/timezone"]),
    "timezone is empty": (GOOD | {"timezone": ""}, ["/timezone"]),
    "timezone is unknown": (GOOD | {"timezone": f"Europe/{MARKER}"}, ["/timezone"]),
    "timezone is an offset": (GOOD | {"timezone": "+02:00"}, ["/timezone"]),
    "timezone is a path": (GOOD | {"timezone": "../../../../etc/passwd"}, ["/timezone"]),
    "timezone is a folder": (GOOD | {"timezone": "Europe"}, ["/timezone"]),
    "timezone is the host's": (GOOD | {"timezone": "localtime"}, ["/timezone"]),
    "timezone with a NUL": (GOOD | {"timezone": "UTC\0"}, ["/timezone"]),
    "cron and timezone": (GOOD | {"cron": "x", "timezone": "y"}, ["/cron", "/timezone"]),
    "kind is unknown": (GOOD | {"kind": MARKER}, ["/kind"]),
    "kind is a number": (GOOD | {"kind": 1}, ["/kind"]),
    "content does not fit": (GOOD | {"content": {"simulate_seconds": -1}}, ["/content/simulate_seconds"]),
    "content is no fit, and no kind is named": (
        *({"cron": "* * * * *", "content": {"simulate_seconds": MARKER}}, ["/content/simulate_seconds"]),
    ),
    "content with a NUL": (GOOD | {"content": {"a": f"{MARKER}\0"}}, ["/content/a"]),
    "content with 2^53": (GOOD | {"content": [2**53]}, ["/content/0"]),
    "missed is unknown": (GOOD | {"missed": MARKER}, ["/missed"]),
    "missed in capitals": (GOOD | {"missed": "SKIP"}, ["/missed"]),
    "missed is null": (GOOD | {"missed": None}, ["/missed"]),
    "enabled is a word": (GOOD | {"enabled": "true"}, ["/enabled"]),
    "enabled is a number": (GOOD | {"enabled": 1}, ["/enabled"]),
    "enabled is null": (GOOD | {"enabled": None}, ["/enabled"]),
}

NOT_NAMES = ["-x", ".x", "_x", "a%20b", "a%00", "%00", "x" * 101, "%C3%A4", "a%0A", "..", "%2e%2e", "'--", "a!"]


async def test_a_schedule_is_put_listed_run_and_deleted(live: Service) -> None:
    """All of its calls, and what they answer."""
    path = "/schedule/nightly-report"
    body = {**GOOD, "content": {"report": "daily"}, "missed": "run_once"}
    made = await live.client.put(path, json=body)
    assert made.status_code == 201
    schedule = made.json()
    assert schedule | body == schedule
    assert (schedule["name"], schedule["description"]) == ("nightly-report", "At 02:30 every day")
    assert (schedule["enabled"], schedule["declared"]) == (True, False)
    assert len(schedule["next_runs"]) == 3
    assert all(run.endswith(":30:00.000000Z") for run in schedule["next_runs"])
    assert schedule["next_runs"] == sorted(set(schedule["next_runs"]))
    assert schedule["next_run_at"] == schedule["next_runs"][0]
    again = await live.client.put(path, json=body)
    assert (again.status_code, again.json()) == (200, schedule)
    assert (await live.client.get(path)).json() == schedule
    listed = (await live.client.get("/schedule")).json()
    assert schedule in listed["schedules"]
    ran = await live.client.post(f"{path}/run")
    assert ran.status_code == 201
    task = await live.get(ran.json()["id"])
    assert task == ran.json()
    assert (task["kind"], task["content"], task["status"]) == ("simulate", {"report": "daily"}, "pending")
    assert (await live.client.get(path)).json() == schedule
    gone = await live.client.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert "content-length" not in gone.headers
    for answer in (
        await live.client.get(path),
        await live.client.delete(path),
        await live.client.post(f"{path}/run"),
    ):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await live.get(task["id"])) == task


async def test_what_is_left_out_has_its_default(live: Service) -> None:
    """UTC, the default kind, skip, enabled."""
    answer = await live.client.put("/schedule/defaults", json={"cron": "0 12 * * *", "content": None})
    schedule = answer.json()
    assert answer.status_code == 201
    assert (schedule["timezone"], schedule["kind"], schedule["content"]) == ("UTC", "simulate", None)
    assert (schedule["missed"], schedule["enabled"]) == ("skip", True)


async def test_one_that_is_not_enabled_has_no_next_runs(live: Service) -> None:
    """But it can be run now."""
    answer = await live.client.put("/schedule/off", json={**MINUTELY, "enabled": False})
    assert (answer.json()["next_runs"], answer.json()["next_run_at"]) == ([], None)
    assert (await live.client.post("/schedule/off/run")).status_code == 201


async def test_the_list_comes_in_pages(live: Service) -> None:
    """By name; each schedule is on one of them."""
    for name in ("p1", "p2", "p3", "p4", "p5"):
        await live.client.put(f"/schedule/{name}", json=MINUTELY)
    names, after = [], "p0"
    while after is not None:
        page = (await live.client.get("/schedule", params={"limit": 2, "after": after})).json()
        names += [schedule["name"] for schedule in page["schedules"]]
        after = page["next"]
    assert [name for name in names if name.startswith("p")] == ["p1", "p2", "p3", "p4", "p5"]


@pytest.mark.parametrize(("body", "pointers"), WRONG.values(), ids=WRONG)
async def test_what_is_no_schedule_is_422(
    refusals: Refusals, live_sql: Connection, body: Any, pointers: list[str]
) -> None:
    """Each field is checked; the answer names it and not its value, and nothing is kept."""
    before = await live_sql.fetchval("SELECT count(*) FROM schedules")
    await refusals.refuse(request("PUT", "/schedule/wrong", JSON, body=json.dumps(body).encode()), 422, pointers)
    assert await live_sql.fetchval("SELECT count(*) FROM schedules") == before


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b"", 400, [JSON]),
        (b"{", 400, [JSON]),
        (b'{"cron": "\\ud800", "content": 1}', 400, [JSON]),
        (b"a" * 2_000_000, 413, [JSON]),
        (b"{}", 415, []),
        (b"{}", 415, ["Content-Type: text/plain"]),
        (b"{}", 415, [JSON, "Content-Encoding: gzip"]),
    ],
)
async def test_a_body_is_read_as_strictly_as_a_tasks(
    refusals: Refusals, body: bytes, status: int, headers: list[str]
) -> None:
    """By the same code."""
    await refusals.refuse(request("PUT", "/schedule/wrong", *headers, body=body), status)


@pytest.mark.parametrize("name", NOT_NAMES)
async def test_what_can_not_be_a_name(refusals: Refusals, name: str) -> None:
    """To put is refused with the rule for names; to look for it finds nothing."""
    answer = await refusals.refuse(request("PUT", f"/schedule/{name}", JSON, body=json.dumps(GOOD).encode()), 422)
    assert "a name has 1 to 100 letters" in answer.json()["detail"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/run")):
        await refusals.refuse(request(method, f"/schedule/{name}{path}"), 404)


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        *(("limit=" + limit, ["/limit"]) for limit in ("0", "1001", "x", "", "-1", "00001" + "9" * 5_000)),
        ("limit=000011001", ["/limit"]),
        ("limit=1&limit=1", ["/limit"]),
        ("after=", ["/after"]),
        ("after=-", ["/after"]),
        ("after=%00", []),
        ("x=1", ["/x"]),
    ],
    ids=lambda part: str(part)[:20],
)
async def test_a_wrong_query_is_422(refusals: Refusals, query: str, pointers: list[str]) -> None:
    """As it is for every list."""
    await refusals.refuse(request("GET", f"/schedule?{query}"), 422, pointers)


@pytest.mark.parametrize(
    ("change", "says"),
    [("kind = 'gone'", "kind is gone"), ("content = '{\"simulate_seconds\": -1}'", "no longer takes")],
)
async def test_a_schedule_whose_kind_has_changed_can_not_be_run(
    live: Service, refusals: Refusals, live_sql: Connection, change: str, says: str
) -> None:
    """409 says why; the schedule is shown all the same."""
    await live.client.put("/schedule/changed", json=MINUTELY)
    await live_sql.execute(f"UPDATE schedules SET {change} WHERE name = 'changed'")
    answer = await refusals.refuse(request("POST", "/schedule/changed/run"), 409)
    assert says in answer.json()["detail"]
    assert (await live.client.get("/schedule/changed")).status_code == 200


async def test_one_that_this_release_can_not_read_is_shown(live: Service, live_sql: Connection) -> None:
    """As what a newer release has put; and the list is there for the others."""
    await live.client.put("/schedule/newer", json=MINUTELY)
    await live_sql.execute("UPDATE schedules SET timezone = 'Mars/Olympus' WHERE name = 'newer'")
    schedule = (await live.client.get("/schedule/newer")).json()
    assert (schedule["description"], schedule["next_runs"]) == (None, [])
    assert (await live.client.get("/schedule")).status_code == 200


async def test_each_tick_has_one_task_while_consumers_are_killed(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """Of three consumers one is killed at every tick, within the beat that makes it: all ticks have one task each."""
    rounds, schedules, made = 8, 5, []
    async with service(database_url, redis_url, **QUICK) as taskmill:
        consumers = [await taskmill.start_consumer() for _ in range(3)]
        for n in range(schedules):
            assert (await taskmill.client.put(f"/schedule/s{n}", json=MINUTELY)).status_code == 201
        # Where none is due just now, so that no tick is lost to this test itself.
        set_back = (
            "UPDATE schedules SET next_run_at = now() WHERE next_run_at > clock_timestamp() RETURNING next_run_at"
        )
        for _ in range(rounds):
            made += [row[0] for row in await sql.fetch(set_back)]
            await asyncio.sleep(random.uniform(0, 0.35))
            consumers.pop(0).signal(signal.SIGKILL)
            consumers.append(await taskmill.start_consumer())
            await until(lambda: sql.fetchval("SELECT bool_and(next_run_at > now()) FROM schedules"), 20)
        await until(lambda: sql.fetchval("SELECT bool_and(status = 'completed') FROM tasks"), 30)
        assert len(made) >= rounds * schedules - schedules  # a minute may have ended in between, whose tick came first
        tasks = Counter(row[0] for row in await sql.fetch("SELECT run_at FROM tasks"))
        assert {tick: tasks[tick] for tick in made} == Counter(made)
        assert max(tasks.values()) == schedules
        assert all(tick in made or tick.second == tick.microsecond == 0 for tick in tasks)


async def test_a_tick_is_started_within_a_beat(database_url: str, redis_url: str, sql: Connection) -> None:
    """With the default settings: 2 s and what a beat may vary by; and the task is one as any other."""
    async with service(database_url, redis_url, simulate_seconds=0) as taskmill:
        await taskmill.start_consumer()
        await taskmill.client.put("/schedule/minutely", json=MINUTELY)
        await sql.execute("UPDATE schedules SET next_run_at = clock_timestamp()")
        took = await until(lambda: sql.fetchval("SELECT last_task_id FROM schedules"), 10)
        assert took < 2 * 1.1 + 1
        schedule = (await taskmill.client.get("/schedule/minutely")).json()
        await taskmill.reaches(schedule["last_task_id"], "completed")
        task = await taskmill.get(schedule["last_task_id"])
        assert task["run_at"] == schedule["last_run_at"]
        assert task["content"] == "hello"


async def test_a_tick_of_a_kind_that_nobody_here_knows(database_url: str, redis_url: str, sql: Connection) -> None:
    """As during a deployment: the consumer makes the task, and leaves it to one that knows the kind."""
    async with service(database_url, redis_url, **QUICK) as taskmill:
        await taskmill.start_consumer()
        await taskmill.client.put("/schedule/minutely", json=MINUTELY)
        await sql.execute("UPDATE schedules SET kind = 'another', next_run_at = clock_timestamp()")
        await until(lambda: sql.fetchval("SELECT kind = 'another' AND status = 'pending' FROM tasks"))


async def test_declared_schedules(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Made when a consumer starts; the API shows and runs them, and leaves changes to the file."""
    path = tmp_path / "schedules.toml"
    path.write_text('[schedule.nightly]\ncron = "30 2 * * *"\ntimezone = "Europe/Berlin"\ncontent = "from the file"\n')
    async with service(database_url, redis_url, **QUICK, schedules_file=path) as taskmill:
        client = taskmill.client
        await client.put("/schedule/clients", json=MINUTELY)
        first = await taskmill.start_consumer()
        declared = (await client.get("/schedule/nightly")).json()
        assert (declared["declared"], declared["content"]) == (True, "from the file")
        for answer in (
            await client.put("/schedule/nightly", json=MINUTELY),
            await client.delete("/schedule/nightly"),
        ):
            assert answer.status_code == 409
            assert "SCHEDULES_FILE" in answer.json()["detail"]
        assert (await client.post("/schedule/nightly/run")).json()["content"] == "from the file"
        await taskmill.start_consumer()
        assert (await client.get("/schedule/nightly")).json() == declared
        first.signal(signal.SIGTERM)
        path.write_text('[schedule.clients]\ncron = "0 * * * *"\ncontent = 2\n')
        await taskmill.start_consumer()
        assert (await client.get("/schedule/nightly")).status_code == 404
        taken = (await client.get("/schedule/clients")).json()
        assert (taken["declared"], taken["cron"]) == (True, "0 * * * *")


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "app.consumer"],
        ["-c", "from app.main import create_app; create_app()"],
        ["-m", "app.embedded.serve"],
        ["-m", "app.embedded"],
    ],
    ids=["consumer", "api", "serve", "make run"],
)
def test_a_wrong_file_stops_the_start(command: list[str], tmp_path: Path) -> None:
    """Of everything, with one line that names file, schedule and field."""
    path = tmp_path / "schedules.toml"
    path.write_text('[schedule.nightly]\ncron = "30 25 * * *"\ncontent = 1\n')
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "REDIS_URL": "redis://127.0.0.1:1",
            "SCHEDULES_FILE": str(path),
            "DATA_DIR": str(tmp_path / "data"),
            "RUN_DIR": str(tmp_path / "run"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert f"{path}: schedule.nightly.cron: its field for the hour is wrong" in line
