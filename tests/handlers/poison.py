"""Kinds that kill whoever runs them, or do not stop."""

import asyncio
import contextlib
import os
from typing import Any

from pydantic import model_validator

from app.handler_api.context import Options, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done
from app.handler_api.payload import Payload


class Poison(Payload, kind="poison"):
    """Takes anything."""

    @model_validator(mode="before")
    @classmethod
    def _take_any_content(cls, _: Any) -> Any:
        return {}


async def _die(_: Poison, __: TaskContext[Options]) -> Done:
    os._exit(9)


class Stubborn(Poison, kind="stubborn"):
    """Takes anything."""


async def _hold_out(_: Stubborn, __: TaskContext[Options]) -> Done:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


HANDLERS = (Handler(Poison, _die), Handler(Stubborn, _hold_out))
