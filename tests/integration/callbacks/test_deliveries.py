"""Deliveries are shown, with their tries, and repeated; to nobody but their tenant."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from starlette.types import Message, Scope

from app.api.caller import CALLER
from app.api.delivery_api import DeliveryApi
from app.api.delivery_schemas import render_delivery
from app.api.errors import ProblemError
from app.api.group_api import GroupApi
from app.core.caller import Caller, Role
from app.core.config import Settings
from app.core.task import ErrorCode
from app.db.engine import Database
from app.handlers.callback.tries import delivered, failed
from app.queue.claim import claim_ids
from app.queue.deliveries import MOST, read_deliveries, repeat_delivery
from app.queue.finish import Failure, complete, retry_at
from app.queue.wakeup import Wakeup
from tests.integration.callbacks.conftest import URL, Bench
from tests.integration.conftest import claimant
from tests.support.services import services_of
from tests.support.waiting import EventLog


async def test_a_delivery_shows_its_tries(bench: Bench) -> None:
    """Of what its handler recorded, and of a run that was lost with its consumer; newest delivery first."""
    task_id = await bench.task()
    await bench.canceler.cancel([task_id])
    (delivery,) = await read_deliveries(bench.database, task_id)
    assert (delivery.url, delivery.type) == (URL, "task.canceled")
    await bench.database.fetch("UPDATE consumers SET kinds = '{simulate,callback}'")
    who = claimant(bench._consumer_id, "callback")
    (claim,) = await claim_ids(bench.database, who, [delivery.id])
    failure = Failure(ErrorCode.DEPENDENCY_UNAVAILABLE, failed(500, 17, "The server answered 500."))
    await retry_at(bench.database, [claim], [failure], [timedelta()])
    (claim,) = await claim_ids(bench.database, who, [delivery.id])
    failure = Failure(ErrorCode.CONSUMER_LOST, "The consumer that ran this task died (loss 1).")
    await retry_at(bench.database, [claim], [failure], [timedelta(hours=1)])
    waiting = await _get(bench, task_id)
    assert waiting["status"] == "pending"
    assert waiting["next_try_at"] > waiting["tries"][-1]["at"]
    await bench.database.fetch("UPDATE tasks SET run_at = now() WHERE kind = 'callback'")
    (claim,) = await claim_ids(bench.database, who, [delivery.id])
    assert (await _get(bench, task_id))["status"] == "delivering"
    await complete(bench.database, [claim], [json.dumps(delivered(204, 5))])
    done = await _get(bench, task_id)
    assert (done["status"], done["next_try_at"]) == ("delivered", None)
    assert [(tried["status"], tried["duration_ms"], tried["error"]) for tried in done["tries"]] == [
        (500, 17, "The server answered 500."),
        (None, None, "The consumer that ran this task died (loss 1)."),
        (204, 5, None),
    ]
    assert sorted(tried["at"] for tried in done["tries"]) == [tried["at"] for tried in done["tries"]]


async def _get(bench: Bench, of: UUID) -> dict[str, Any]:
    return dict(json.loads(render_delivery((await read_deliveries(bench.database, of))[0])))


async def test_a_repeat_is_the_same_message(bench: Bench) -> None:
    """Of the last end; and no more than so many are shown, newest first."""
    task_id = await bench.task()
    assert await repeat_delivery(bench.database, bench.follow_up, task_id) is None
    await bench.fail(await bench.claim(task_id))
    await bench.reopener.reopen(task_id)
    await bench.complete(await bench.claim(task_id))
    for _ in range(MOST):
        assert await repeat_delivery(bench.database, bench.follow_up, task_id) is not None
    first, *others = await bench.told(task_id)
    assert len(others) == MOST + 1
    assert {message.body for message in others} == {others[0].body}
    assert {message.webhook_id for message in others} == {others[0].webhook_id} != {first.webhook_id}
    shown = await read_deliveries(bench.database, task_id)
    assert len(shown) == MOST
    assert sorted((each.created_at for each in shown), reverse=True) == [each.created_at for each in shown]


async def _no_body() -> Message:
    raise AssertionError("these calls read no body")


async def test_only_its_tenant_sees_deliveries(
    bench: Bench, settings: Settings, database: Database, wakeup: Wakeup, events: EventLog
) -> None:
    """To others there is no such task and no such group, and nothing is told for them."""
    services = services_of(settings, database, wakeup, events)
    api = DeliveryApi(services, GroupApi(services))
    task_id = await bench.task(tenant="tenant")
    await bench.canceler.cancel([task_id])
    group = await bench.group(1)
    await bench.complete(await bench.claim(group.members[0].id))
    ids = {"task_id": str(task_id), "group_id": str(group.id)}
    for tenant, role, sees in (
        ("tenant", Role.READ, True),
        (None, Role.ADMIN, True),
        ("other", Role.WRITE, False),
        (None, Role.WRITE, False),
    ):
        scope: Scope = {"type": "http", "path_params": ids, CALLER: Caller("key", role, tenant)}
        for call in (api.of_task, api.of_group, api.repeat_of_task, api.repeat_of_group):
            if sees:
                assert b'"url":"https://example.com/' in await call(scope, _no_body)
            else:
                with pytest.raises(ProblemError) as caught:
                    await call(scope, _no_body)
                assert caught.value.status == 404
    assert len(await read_deliveries(database, task_id)) == len(await read_deliveries(database, group.id)) == 3
