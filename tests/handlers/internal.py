"""A kind that nobody may ask for."""

from app.handler_api.context import Options, TaskContext
from app.handler_api.handler import Handler
from app.handler_api.payload import Payload


class Hidden(Payload, kind="hidden"):
    """Takes an empty object."""


async def _run(_: Hidden, __: TaskContext[Options]) -> None:
    pass


HANDLERS = (Handler(Hidden, _run, is_internal=True),)
