"""Python imports this at start where its folder is on the path: adds a kind that kills whoever runs it."""

import asyncio
import contextlib
import os
from typing import Any

from pydantic import model_validator

from app import handlers
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


handlers.HANDLERS = (*handlers.HANDLERS, Handler(Poison, Options, _die), Handler(Stubborn, Options, _hold_out))
handlers.BY_KIND |= {handler.kind: handler for handler in handlers.HANDLERS}
