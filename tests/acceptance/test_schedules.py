"""Schedules are put, listed, shown, run and deleted, by a client of a real process."""

import pytest

from tests.support.processes import Service
from tests.support.refusals import Refusals
from tests.support.types import Connection
from tests.support.wire import request

MINUTELY = {"cron": "* * * * *", "content": "hello"}
GOOD = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "kind": "simulate", "content": 1}


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
