"""`http`: makes a request, and its answer is the result. So any service, in any language, is a worker."""

from aiohttp import ClientError, ClientTimeout, InvalidURL
from yarl import URL

from app.handler_api.context import TaskContext
from app.handler_api.handler import Handler
from app.handler_api.http import CONNECT_SECONDS, AddressRefusedError
from app.handler_api.outcome import ErrorCode, Fail, Outcome, Retry
from app.handlers.http.answer import outcome_of
from app.handlers.http.options import HttpOptions
from app.handlers.http.payload import HttpCall
from app.handlers.http.request import request_headers

_TIMEOUT = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)  # the whole: the task's timeout_seconds


async def call(payload: HttpCall, task: TaskContext[HttpOptions]) -> Outcome:
    """Make the request. Follows no redirect, and leaves what it does not read of the answer."""
    body = payload.encode_body()
    headers = request_headers(payload, body, task.id, task.traceparent, task.options.signers)
    try:
        async with task.http.request(
            payload.method,
            URL(payload.url, encoded=True),
            data=body,
            headers=headers,
            skip_auto_headers=("Content-Type",),  # of a request without a body
            allow_redirects=False,
            timeout=_TIMEOUT,
        ) as response:
            return await outcome_of(response)
    except (AddressRefusedError, InvalidURL) as error:
        return Fail(str(error))
    except (ClientError, OSError) as error:
        return Retry(None, f"{type(error).__name__}: {error}", ErrorCode.DEPENDENCY_UNAVAILABLE)


HANDLER = Handler(
    payload=HttpCall,
    run=call,
    options=HttpOptions,
    max_attempts=8,
    timeout_seconds=30,
    retry_base_seconds=5,
    retry_cap_seconds=3_600,
)
