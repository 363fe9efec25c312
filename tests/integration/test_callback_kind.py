"""The kind `callback` against a real receiver: what it sends, and what it makes of the answer."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientTimeout, web
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError
from uuid_utils.compat import uuid7

from app.consumer.tools import Toolbox
from app.core.errors import InvalidPayloadError
from app.core.task import Claim, ErrorCode
from app.db.engine import Database
from app.handler_api.outcome import Done, Fail, Outcome, Retry
from app.handlers import Catalog
from app.handlers.callback import handler
from app.handlers.callback.handler import DAY_SECONDS, HANDLER, SCHEDULE_SECONDS
from app.handlers.callback.options import CallbackOptions
from app.handlers.callback.payload import Callback
from app.handlers.callback.tries import Try, delivered, failed, read_delivered, read_failed
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.support.receiver import Receiver, answering
from tests.support.waiting import EventLog

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()
BODY = '{"type" : "task.completed", "data" : {"result": ' + "[" * 500 + "]" * 500 + ', "é\\u00e9": 1.0}}'

Tell = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def tell(receiver: Receiver, events: EventLog) -> AsyncIterator[Tell]:
    """Run the handler once, with the tools of a consumer, which may reach that service alone; the outcome."""
    nowhere = "127.0.0.1:9"
    settings = quick_settings(f"postgresql://{nowhere}/x", f"redis://{nowhere}", http_allow_private="127.0.0.1/32")
    database, wakeup = Database(settings.database_url, 2, 1), Wakeup(settings.redis_url, events)
    toolbox = Toolbox(settings, Catalog.load(settings), database, wakeup, events)

    async def run(
        url: str | None = None,
        *,
        secrets: str = f"{SECRET},{OLD_SECRET}",
        task_id: UUID | None = None,
        attempt: int = 1,
        traceparent: str | None = None,
    ) -> Outcome:
        text = f'{{"url" : "{url or receiver.url}", "webhook_id" : "msg_1", "body" : {BODY}}}'
        claim = Claim(task_id or uuid7(), uuid4(), "callback", text, attempt, traceparent=traceparent)
        options = CallbackOptions(callback_secrets=SecretStr(secrets))
        context = toolbox.context(claim, options, lambda: False, None)
        outcome = await HANDLER.run(HANDLER.payload.parse(text), context)
        assert isinstance(outcome, Done | Retry | Fail)
        return outcome

    yield run
    await toolbox.close()
    await wakeup.close()
    await database.close()


def _failed(outcome: Outcome) -> Try:
    assert isinstance(outcome, Retry | Fail)
    return read_failed(outcome.reason)


async def test_what_is_sent(tell: Tell, receiver: Receiver) -> None:
    """The body as it was written, byte for byte, signed by each secret; the id of the message, not of the task."""
    task_id, trace = uuid7(), f"00-{'ab' * 16}-{'cd' * 8}-01"
    assert isinstance(await tell(f"{receiver.url}?x=%20", task_id=task_id, traceparent=trace), Done)
    (heard,) = receiver.heard
    assert (heard.method, heard.target, heard.body) == ("POST", "/hook?x=%20", BODY.encode())
    assert heard.headers["Content-Type"] == "application/json"
    assert heard.headers["webhook-id"] == "msg_1"
    assert heard.headers["traceparent"].startswith(trace[:36])
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(heard.body, dict(heard.headers), json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(heard.body + b" ", dict(heard.headers), json_parse=False)
    await tell(task_id=task_id)
    assert receiver.heard[1].headers["traceparent"].startswith(f"00-{task_id.hex}-")


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_2xx_is_a_delivery(tell: Tell, receiver: Receiver, status: int) -> None:
    """Whatever comes with it."""
    receiver.answer = answering(status)
    outcome = await tell()
    assert isinstance(outcome, Done)
    tried = read_delivered(outcome.result)
    assert (tried.status, tried.error) == (status, None)
    assert tried.duration_ms is not None
    assert tried.duration_ms >= 0


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 408, 409, 422, 429, 500, 503])
async def test_anything_else_is_tried_again(tell: Tell, receiver: Receiver, status: int) -> None:
    """On schedule; also what would be for ever elsewhere, since receivers are repaired. Redirects are not followed."""
    receiver.answer = answering(status, text="be\0cause", headers={"Location": f"{receiver.url}/elsewhere"})
    for attempt, seconds in enumerate(SCHEDULE_SECONDS, start=1):
        outcome = await tell(attempt=attempt)
        assert isinstance(outcome, Retry)
        assert outcome.after is not None
        assert seconds <= outcome.after <= 1.1 * seconds
        assert outcome.code is ErrorCode.DEPENDENCY_UNAVAILABLE
        tried = _failed(outcome)
        assert tried.status == status
        assert tried.error is not None
        assert "be cause" in tried.error
    assert {heard.target for heard in receiver.heard} == {"/hook"}


def test_the_schedule_takes_about_a_day() -> None:
    """As many attempts as it has steps, and one more; a lost run may come on top of them."""
    assert DAY_SECONDS * 0.95 < sum(SCHEDULE_SECONDS) < DAY_SECONDS
    assert HANDLER.max_attempts == len(SCHEDULE_SECONDS) + 1


async def test_a_run_that_was_lost_does_not_end_the_schedule(tell: Tell, receiver: Receiver) -> None:
    """The last step is there for attempts beyond it."""
    receiver.answer = answering(500)
    outcome = await tell(attempt=len(SCHEDULE_SECONDS) + 3)
    assert isinstance(outcome, Retry)
    assert outcome.after is not None
    assert outcome.after >= SCHEDULE_SECONDS[-1]


async def test_410_ends_it(tell: Tell, receiver: Receiver) -> None:
    """At once."""
    receiver.answer = answering(410, text="gone")
    outcome = await tell()
    assert isinstance(outcome, Fail)
    assert _failed(outcome).status == 410


@pytest.mark.parametrize(
    ("status", "said", "hours_old", "seconds"),
    [
        (429, "60", 0, 60),
        (503, "60", 0, 60),
        (503, "1", 0, 5),  # no sooner than the schedule: the tries would be used up in no time
        (503, "-1", 0, 5),
        (503, "soon", 0, 5),
        (500, "60", 0, 5),
        (429, "999999", 12, 12 * 3_600),  # no longer than the day
        (429, "60", 30, 5),
    ],
)
async def test_retry_after(
    tell: Tell, receiver: Receiver, status: int, said: str, hours_old: int, seconds: float
) -> None:
    """It counts where it is later than the schedule, within the day."""
    receiver.answer = answering(status, headers={"Retry-After": said})
    task_id = uuid7()
    outcome = await tell(task_id=UUID(int=task_id.int - (hours_old * 3_600_000 << 80)))
    assert isinstance(outcome, Retry)
    assert outcome.after is not None
    assert 0.99 * seconds < outcome.after <= 1.1 * seconds


async def test_who_hangs_is_given_up(tell: Tell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its headers, or in the middle of them; that counts as a try without a status."""
    monkeypatch.setattr(handler, "_TIMEOUT", ClientTimeout(total=0.2))

    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = answer
    outcome = await tell()
    assert isinstance(outcome, Retry)
    tried = _failed(outcome)
    assert (tried.status, outcome.code) == (None, ErrorCode.TIMEOUT)
    assert tried.duration_ms is not None
    assert tried.duration_ms >= 200


async def test_a_body_without_end_is_not_read(tell: Tell, receiver: Receiver) -> None:
    """With a 200 it is a delivery at once; with a 500 no more of it is read than is quoted."""
    for status in (200, 500):

        async def answer(request: web.Request, status: int = status) -> web.StreamResponse:
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            while True:
                await response.write(b"x" * 65_536)

        receiver.answer = answer
        async with asyncio.timeout(5):
            outcome = await tell()
        assert isinstance(outcome, Done if status == 200 else Retry)


async def test_nobody_there(tell: Tell) -> None:
    """A refused connection, no such name, and no HTTP: tried again."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for url in (refused, "http://nothing.invalid/"):
            outcome = await tell(url)
            assert isinstance(outcome, Retry)
            assert _failed(outcome).status is None


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "169.254.169.254"])
async def test_private_addresses_are_refused(tell: Tell, host: str) -> None:
    """Where the connection is made, whatever was let through when it was posted; that is no matter of time."""
    outcome = await tell(f"http://{host}/")
    assert isinstance(outcome, Fail)
    assert "HTTP_ALLOW_PRIVATE" in str(_failed(outcome).error)


async def test_nothing_is_sent_unsigned(tell: Tell, receiver: Receiver) -> None:
    """A consumer without the secrets tries again, when it may have them."""
    outcome = await tell(secrets="")
    assert isinstance(outcome, Retry)
    assert "CALLBACK_SECRETS" in outcome.reason
    assert not receiver.heard


@pytest.mark.parametrize(
    "content",
    ["{}", '{"url" : "http://a/", "webhook_id" : "x"}', "null", "1", '{"body" : {}}', '{"url" : 1, "body" : {}}'],
)
def test_what_is_no_message(content: str) -> None:
    """Is refused, as any payload."""
    with pytest.raises(InvalidPayloadError):
        Callback.parse(content)


def test_the_first_body_is_the_body() -> None:
    """Not one within it."""
    body = json.dumps({"data": {"a": 1, "body": {"x": ', "body" : '}}}, separators=(", ", " : "))
    parsed = Callback.parse(f'{{"url" : "http://a/", "webhook_id" : "x", "body" : {body}}}')
    assert (parsed.url, parsed.webhook_id, parsed.body) == ("http://a/", "x", body.encode())


@pytest.mark.parametrize("tried", [Try(500, 17, "a: 5 after 6 ms: b\nc"), Try(None, 0, ""), Try(None, 15_000, "é")])
def test_what_is_written_of_a_try_can_be_read(tried: Try) -> None:
    """All of it."""
    assert tried.duration_ms is not None
    assert tried.error is not None
    assert read_failed(failed(tried.status, tried.duration_ms, tried.error)) == tried


@pytest.mark.parametrize("message", ["It was stopped after 30 s.", "500 after x ms: no", "", "-"])
def test_other_words_are_an_error_and_no_more(message: str) -> None:
    """As of a run whose consumer died."""
    assert read_failed(message) == Try(None, None, message)


def test_what_is_written_of_a_delivery_can_be_read() -> None:
    """All of it."""
    result: Any = json.loads(json.dumps(delivered(204, 17)))
    assert read_delivered(result) == Try(204, 17, None)
