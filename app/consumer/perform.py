"""Calls a handler, and takes whatever comes out of it as an outcome. The same in a consumer and in its children."""

import asyncio
from typing import Any

from app.core.errors import DatabaseUnavailableError, InvalidPayloadError, LostClaimError
from app.core.events import Emit, HandlerRaised
from app.core.task import Claim, ErrorCode
from app.handler_api.context import TaskContext
from app.handler_api.handler import Handler
from app.handler_api.outcome import Done, Fail, Outcome, Retry, Snooze
from app.utils.in_words import in_words


async def perform(handler: Handler[Any, Any], claim: Claim, context: TaskContext[Any], emit: Emit) -> Outcome:
    """Run the handler to its end.

    Raises LostClaimError where the task is no longer ours, and CancelledError where this call is cancelled. All else
    is an outcome.
    """
    try:
        try:
            payload = handler.payload.parse(claim.content)
        except InvalidPayloadError as error:
            return Fail(str(error), ErrorCode.INVALID_PAYLOAD)
        outcome = await handler.run(payload, context)
    except (LostClaimError, asyncio.CancelledError, GeneratorExit):
        raise
    except DatabaseUnavailableError as error:
        return Retry(None, str(error), ErrorCode.DEPENDENCY_UNAVAILABLE)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends its own task and no other
        emit(HandlerRaised(claim.id, error))
        return Retry(None, f"{type(error).__name__}: {in_words(error)}")
    return outcome if isinstance(outcome, Done | Retry | Fail | Snooze) else Done(outcome)
