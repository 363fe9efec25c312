"""What is told of queues, and to whom."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from starlette.types import Message, Scope

from app.api.caller import CALLER
from app.api.errors import ProblemError
from app.api.queue_api import UNKNOWN, QueueApi
from app.core.caller import EVERYBODY, Caller, Role
from app.core.config import Settings
from app.db.engine import Database
from app.queue.wakeup import Wakeup
from tests.integration.conftest import Insert
from tests.support.services import services_of
from tests.support.types import Connection
from tests.support.waiting import EventLog


async def _body() -> Message:
    return {"type": "http.request", "body": b'{"paused": true}'}


@pytest.fixture
def api(settings: Settings, database: Database, wakeup: Wakeup, events: EventLog) -> QueueApi:
    """As in the API process."""
    return QueueApi(services_of(settings, database, wakeup, events))


def _scope(who: Caller, **path: object) -> Scope:
    parameters = {name: str(value) for name, value in path.items()}
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "path_params": parameters, "headers": headers, CALLER: who}


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (EVERYBODY, ["get", "change"]),
        (Caller("a", Role.ADMIN, "t"), ["get", "change"]),
        (Caller("b", Role.WRITE, None), ["get", "change"]),
        (Caller("c", Role.READ, None), ["get", "change"]),
        (Caller("d", Role.WRITE, "t"), []),
        (Caller("e", Role.READ, "t"), []),
    ],
)
async def test_queues_are_for_those_of_no_tenant(who: Caller, may: Sequence[str], api: QueueApi) -> None:
    """Anybody else gets a 403. That only admins change them, their route says."""
    for call in ("get", "change"):
        scope = _scope(who, name="default")
        if call in may:
            assert json.loads(await getattr(api, call)(scope, _body))["name"] == "default"
        else:
            with pytest.raises(ProblemError) as refused:
                await getattr(api, call)(scope, _body)
            assert refused.value.status == 403


async def test_why_is_told_to_those_who_see_the_task(
    api: QueueApi, insert: Insert, consumer_id: UUID, sql: Connection
) -> None:
    """To others there is no such task; and of those that hold its key's places, each sees their own tenant's."""
    mine, others, waits = await insert(3)
    assert consumer_id
    await sql.execute("UPDATE tasks SET concurrency_key = 'k', concurrency_limit = 2, tenant = 't'")
    await sql.execute("UPDATE tasks SET is_blocked = true WHERE id = $1", waits)
    await sql.execute("UPDATE tasks SET tenant = 'u' WHERE id = $1", others)
    member, admin = Caller("m", Role.READ, "t"), Caller("a", Role.ADMIN, None)
    for who, seen in ((member, [mine]), (admin, [mine, others])):
        why: dict[str, Any] = json.loads(await api.why(_scope(who, task_id=waits), _body))
        assert why["reason"] == "limit_reached"
        assert why["concurrency"]["held"] == 2
        assert why["concurrency"]["held_by"] == [str(task_id) for task_id in seen]
    with pytest.raises(ProblemError) as refused:
        await api.why(_scope(member, task_id=others), _body)
    assert refused.value.status == 404


async def test_kinds_that_nobody_knows_have_a_queue_of_their_own(
    api: QueueApi, insert: Insert, sql: Connection
) -> None:
    """To be seen, and not to be paused."""
    await insert(2)
    names = [queue["name"] for queue in json.loads(await api.list_all(_scope(EVERYBODY), _body))["queues"]]
    assert names == ["bulk", "callbacks", "default"]
    await sql.execute("UPDATE tasks SET kind = 'gone', run_at = now() - interval '1 minute'")
    unknown = json.loads(await api.get(_scope(EVERYBODY, name=UNKNOWN), _body))
    assert (unknown["kinds"], unknown["counts"]["pending"]) == (["gone"], 2)
    assert 60 <= unknown["oldest_wait_seconds"] < 70
    with pytest.raises(ProblemError) as refused:
        await api.change(_scope(EVERYBODY, name=UNKNOWN), _body)
    assert refused.value.status == 404
    await sql.execute("DELETE FROM tasks")
    with pytest.raises(ProblemError):
        await api.get(_scope(EVERYBODY, name=UNKNOWN), _body)
