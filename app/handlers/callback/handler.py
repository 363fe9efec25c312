"""`callback`: tells a receiver that a task or a group has ended, by Standard Webhooks."""

import random
import time
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

from aiohttp import ClientError, ClientResponse, ClientTimeout, InvalidURL
from yarl import URL

from app.handler_api.context import TaskContext
from app.handler_api.handler import Handler
from app.handler_api.http import CONNECT_SECONDS, AddressRefusedError
from app.handler_api.http_answer import reason_of, retry_after
from app.handler_api.outcome import Done, ErrorCode, Fail, Outcome, Retry
from app.handler_api.signing import signature
from app.handler_api.trace import child_of
from app.handlers.callback.options import CallbackOptions
from app.handlers.callback.payload import Callback
from app.handlers.callback.tries import delivered, failed

# Between two tries, as Standard Webhooks has it: the first comes at once, and the last a day later.
SCHEDULE_SECONDS = (5, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 6 * 3_600)
DAY_SECONDS = 86_400
ANSWER_SECONDS = 15.0

_JITTER = 0.1  # longer at most, so that what failed together is not tried together
_TIMEOUT = ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
_SAY_WHEN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


async def tell(payload: Callback, task: TaskContext[CallbackOptions]) -> Outcome:
    """Send the message. Any 2xx is a delivery, 410 (Gone) ends it, and all else is tried again on schedule."""
    start = time.monotonic()
    signers = task.options.signers
    if not signers:
        return _again(task, start, None, "CALLBACK_SECRETS is not set, and nothing is sent unsigned.")
    headers = {
        "Content-Type": "application/json",
        "traceparent": child_of(task.traceparent, task.id),
        **signature(payload.webhook_id, payload.body, signers),
    }
    try:
        async with task.http.post(
            URL(payload.url, encoded=True), data=payload.body, headers=headers, allow_redirects=False, timeout=_TIMEOUT
        ) as response:
            return await _outcome_of(response, task, start)
    except (AddressRefusedError, InvalidURL) as error:
        return Fail(failed(None, _ms(start), str(error)))
    except TimeoutError:
        return _again(task, start, None, "There was no answer in time.", ErrorCode.TIMEOUT)
    except (ClientError, OSError) as error:
        return _again(task, start, None, f"{type(error).__name__}: {error}")


async def _outcome_of(response: ClientResponse, task: TaskContext[CallbackOptions], start: float) -> Outcome:
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - what 2xx means
        return Done(delivered(status, _ms(start)))  # whatever else it says
    reason = await reason_of(response)
    if status == HTTPStatus.GONE:
        return Fail(failed(status, _ms(start), reason))
    now = datetime.now(UTC)
    said = retry_after(response.headers.get("Retry-After"), now) if status in _SAY_WHEN else None
    return _again(task, start, status, reason, at_least=min(said or 0, _left_of_day(task.id, now)))


def _again(
    task: TaskContext[CallbackOptions],
    start: float,
    status: int | None,
    reason: str,
    code: ErrorCode = ErrorCode.DEPENDENCY_UNAVAILABLE,
    *,
    at_least: float = 0,
) -> Retry:
    scheduled = SCHEDULE_SECONDS[min(task.attempt, len(SCHEDULE_SECONDS)) - 1]
    after = max(scheduled, at_least) * random.uniform(1, 1 + _JITTER)  # noqa: S311 - spreads load
    return Retry(after, failed(status, _ms(start), reason), code)


def _left_of_day(task_id: UUID, now: datetime) -> float:
    """Seconds of the day in which this is tried. The id has the time at which it was made, in its first 48 bits."""
    return DAY_SECONDS - (now.timestamp() - (task_id.int >> 80) / 1_000)


def _ms(start: float) -> int:
    return round((time.monotonic() - start) * 1_000)


HANDLER = Handler(
    payload=Callback,
    run=tell,
    options=CallbackOptions,
    max_attempts=len(SCHEDULE_SECONDS) + 1,
    timeout_seconds=2 * ANSWER_SECONDS,
    retry_base_seconds=5,
    retry_cap_seconds=3_600,
    queue="callbacks",
    is_internal=True,
)
