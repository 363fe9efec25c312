"""A pool of real child processes, and what to run in them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from app.consumer.children import ChildPool
from app.consumer.forks import Forks
from app.core.config import Settings
from app.core.task import Claim
from tests.support.forking import fork_server
from tests.support.waiting import EventLog

Pool = Callable[..., ChildPool]


@pytest.fixture
async def make_pool(settings: Settings, events: EventLog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    """Build a pool; its children read their settings from the environment, as in production."""
    pools: list[ChildPool] = []
    started: list[Forks] = []
    died: list[BaseException] = []
    environment = settings.model_dump(include={"database_url", "redis_url"}) | {
        "handler_modules": "tests.handlers.isolated"
    }
    for name, value in environment.items():
        monkeypatch.setenv(name.upper(), value)

    def make(**others: object) -> ChildPool:
        for name, value in others.items():
            monkeypatch.setenv(name.upper(), str(value))
        started.append(Forks(fork_server(), died.append))
        pools.append(ChildPool(settings.model_copy(update={"cancel_grace_seconds": 1.0} | others), started[-1], events))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()
        assert not pool._children
        await asyncio.gather(*pool._background)
    for forks in started:
        forks.close()
    assert not died


@pytest.fixture
async def pool(make_pool: Pool) -> ChildPool:
    """A pool."""
    return make_pool()


def unlimited() -> None:
    """No deadline."""


def job(do: str, value: Any = None, file: Path | None = None) -> Claim:
    """A claim of a task that nobody has created: enough for handlers that leave PostgreSQL alone."""
    content = json.dumps({"do": do, "value": value} | ({"file": str(file)} if file else {}))
    return Claim(uuid7(), uuid7(), "isolated", content, 1)
