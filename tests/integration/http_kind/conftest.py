"""The handler of the kind `http`, without a consumer around it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from app.consumer.tools import Toolbox
from app.core.task import Claim
from app.db.engine import Database
from app.handler_api.outcome import Done, Fail, Outcome, Retry
from app.handlers import Catalog
from app.handlers.http.handler import HANDLER
from app.handlers.http.options import HttpOptions
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.support.receiver import Receiver
from tests.support.waiting import EventLog

Call = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def call(receiver: Receiver, events: EventLog) -> AsyncIterator[Call]:
    """Run the handler once, with the tools of a consumer, which may reach that service alone; the outcome.

    Nothing here needs PostgreSQL or Redis, and nothing connects to them.
    """
    nowhere = "127.0.0.1:9"
    settings = quick_settings(f"postgresql://{nowhere}/x", f"redis://{nowhere}", http_allow_private="127.0.0.1/32")
    database, wakeup = Database(settings.database_url, 2, 1), Wakeup(settings.redis_url, events)
    toolbox = Toolbox(settings, Catalog.load(settings), database, wakeup, events)

    async def run(
        content: dict[str, Any] | None = None,
        *,
        task_id: UUID | None = None,
        secret: str = "",
        traceparent: str | None = None,
    ) -> Outcome:
        text = json.dumps({"url": receiver.url} | (content or {}))
        claim = Claim(task_id or uuid7(), uuid4(), "http", text, 1, traceparent=traceparent)
        options = HttpOptions(http_signing_secret=SecretStr(secret))
        context = toolbox.context(claim, options, lambda: False, None)
        outcome = await HANDLER.run(HANDLER.payload.parse(text), context)
        assert isinstance(outcome, Done | Retry | Fail)
        return outcome

    yield run
    await toolbox.close()
    await wakeup.close()
    await database.close()


async def result_of(call: Call, **content: Any) -> dict[str, Any]:
    """The result of a call that is done."""
    outcome = await call(content)
    assert isinstance(outcome, Done), outcome
    return dict(outcome.result)
