"""Lists, actions on many and deletions, each for those who see the tasks."""

import json
from typing import Any

import pytest
from starlette.types import Message, Scope

from app.api.bulk_api import BulkApi
from app.api.caller import CALLER
from app.api.delete_api import DeleteApi
from app.api.errors import ProblemError
from app.api.list_api import ListApi
from app.api.services import Services
from app.core.caller import Caller, Role
from app.core.config import Settings
from app.db.engine import Database
from app.queue.wakeup import Wakeup
from tests.integration.conftest import Insert
from tests.support.consuming import consuming
from tests.support.services import services_of
from tests.support.types import Connection
from tests.support.waiting import EventLog, until


@pytest.fixture
def services(settings: Settings, database: Database, wakeup: Wakeup, events: EventLog) -> Services:
    """What the API's classes are made with."""
    return services_of(settings, database, wakeup, events)


def _asks(tenant: str | None, role: Role = Role.WRITE, **more: Any) -> Scope:
    headers = [(b"content-type", b"application/json")]
    who = Caller("key", role, tenant)
    return {"type": "http", "path": "/task", "query_string": b"limit=10", "headers": headers, CALLER: who, **more}


async def _sends(body: object) -> Message:
    return {"type": "http.request", "body": json.dumps(body).encode()}


async def test_each_key_has_its_own_tasks(
    settings: Settings, services: Services, insert: Insert, sql: Connection, events: EventLog
) -> None:
    """None is a tenant like any other; an admin's key has all."""
    ids = await insert(40)
    await sql.execute("UPDATE tasks SET run_at = now() + interval '1 day'")
    tenants = ["a", "b", None, "a"]
    for number, tenant in enumerate(tenants):
        await sql.execute("UPDATE tasks SET tenant = $1 WHERE id = ANY($2)", tenant, ids[number::4])

    async def listed(scope: Scope) -> tuple[list[str], bool]:
        page = json.loads((await ListApi(services).list_page(scope, lambda: _sends(None))).body or b"")
        return [task["id"] for task in page["tasks"]], page["next"] is None

    newest_first = ids[::-1]
    for tenant in ("a", "b", None, "c"):
        own = [str(i) for i in newest_first if tenants[ids.index(i) % 4] == tenant]
        assert await listed(_asks(tenant)) == (own[:10], len(own) <= 10)
    assert await listed(_asks("c", Role.ADMIN)) == ([str(i) for i in newest_first[:10]], False)

    body = {"action": "cancel", "filter": {"kind": ["simulate"]}}
    made = await BulkApi(services).create(_asks("b"), lambda: _sends(body))
    assert isinstance(made, bytes)
    bulk = json.loads(made)
    assert bulk["tenant"] == "b"
    async with consuming(settings, events):
        await until(lambda: sql.fetchval("SELECT status = 'completed' FROM tasks WHERE id = $1", bulk["id"]))
    assert json.loads(await sql.fetchval("SELECT result FROM tasks WHERE kind = 'bulk'"))["changed"] == 10
    rows = await sql.fetch("SELECT DISTINCT tenant FROM tasks WHERE status = 'canceled'")
    assert [row[0] for row in rows] == ["b"]

    canceled = _asks("a", path_params={"task_id": str(ids[1])})
    with pytest.raises(ProblemError, match="no task"):
        await DeleteApi(services).delete(canceled, lambda: _sends(None))
    await DeleteApi(services).delete({**canceled, CALLER: Caller("key", Role.WRITE, "b")}, lambda: _sends(None))
    assert await sql.fetchval("SELECT count(*) FROM tasks WHERE id = $1", ids[1]) == 0
