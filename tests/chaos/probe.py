"""A client that creates at a steady pace and judges every answer: what faults on servers and links are measured by."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector

from tests.chaos.fault import Finding
from tests.chaos.history import Call, Options, Outcome
from tests.chaos.spread import spread
from tests.support.types import Connection

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

CALL_SECONDS = 10.0  # what a client waits
ANSWER_SECONDS = 5.0  # what the README promises, whatever becomes of PostgreSQL
BACK_SECONDS = 5.0  # until all goes on, once what was broken is whole again
START_SECONDS = 30.0  # until all that was accepted has been started
KIND = "chaos_noop"
_PAUSE_SECONDS = 0.02
_CLIENTS = 4
_LOOK_SECONDS = 0.02
_LOOK_BACK = 1_000  # calls

_WAITS = """
SELECT extract(epoch FROM started_at - created_at)::float8
FROM tasks WHERE id = ANY($1::uuid[]) AND started_at IS NOT NULL
"""
_UNSTARTED = """
SELECT id::text, status FROM unnest($1::uuid[]) AS probed (id) LEFT JOIN tasks USING (id) WHERE started_at IS NULL
"""
_numbers = count()


class Probe:
    """Creates tasks that do nothing, from entering to leaving. Each call is noted in `calls`, for the checker."""

    def __init__(self, url: str, calls: list[Call], kind: str = KIND) -> None:
        self._url = url
        self._calls = calls
        self._kind = kind
        self.accepted: list[tuple[float, str]] = []  # (when invoked, by time.time(); id)
        self.refused: Counter[str] = Counter()  # clear errors, by their words
        self.unanswered = 0  # connections that broke, and waits given up
        self.longest = 0.0  # of all calls, those given up included, in seconds
        self.unclear: list[str] = []  # errors that do not say what has happened, and when to try again
        self._own: list[Call] = []
        self._is_stopping = False

    def violations(self) -> list[str]:
        """What no client should see, as long as nobody breaks its connections or kills the API behind them."""
        found = list(self.unclear)
        if not self.accepted:
            found.append("no create was accepted, so nothing is shown")
        if self.unanswered:
            found.append(f"{self.unanswered} creates got no answer")
        if self.longest > ANSWER_SECONDS:
            found.append(f"a create took {self.longest:.1f} s, and {ANSWER_SECONDS:g} s are promised")
        return found

    async def accepts(self, since: float, seconds: float) -> float | None:
        """Wait for a 201 to a call that began after `since`; the seconds from then to it. None: not in time."""
        while True:
            ended = [call.ended for call in self._own[-_LOOK_BACK:] if call.invoked > since and call.code == 201]
            if ended:
                return min(ended) - since
            if time.time() - since > seconds:
                return None
            await asyncio.sleep(_LOOK_SECONDS)

    async def waits(self, connect: Callable[[], Awaitable[Connection]], since: float, until: float) -> list[float]:
        """Seconds from creation to start of the tasks that were created in this time, sorted."""
        ids = [task for at, task in self.accepted if since <= at <= until]
        sql = await connect()
        try:
            return sorted(row[0] for row in await sql.fetch(_WAITS, ids))
        finally:
            await sql.close()

    async def lost(self, connect: Callable[[], Awaitable[Connection]], seconds: float) -> list[str]:
        """Wait for all accepted tasks to have been started; which have not, or are not even there (a false 201)."""
        give_up = time.monotonic() + seconds
        ids = [task for _, task in self.accepted]
        sql = await connect()
        try:
            while True:
                rows = await sql.fetch(_UNSTARTED, ids)
                if not rows or time.monotonic() > give_up:
                    return [f"accepted task {task} is {status or 'not there'}" for task, status in rows]
                await asyncio.sleep(0.2)
        finally:
            await sql.close()

    async def __aenter__(self) -> Self:
        """Begin."""
        # A connection for each call, so that no API process is left out.
        connector = TCPConnector(limit=0, force_close=True)
        self._session = ClientSession(self._url, connector=connector, timeout=ClientTimeout(total=CALL_SECONDS))
        self._clients = [asyncio.create_task(self._create_on()) for _ in range(_CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Begin no more calls, and wait for those under way."""
        self._is_stopping = True
        await asyncio.gather(*self._clients)
        await self._session.close()

    async def _create_on(self) -> None:
        while not self._is_stopping:
            await self._create()
            await asyncio.sleep(_PAUSE_SECONDS * _CLIENTS)

    async def _create(self) -> None:
        marker = f"probe-{id(self):x}-{next(_numbers)}"
        task = {"kind": self._kind, "content": {"marker": marker}}
        code, ids = 0, tuple[str, ...]()
        invoked = time.time()
        try:
            async with self._session.post("/task", json=task) as answer:
                body = await answer.json(content_type=None)
                code = answer.status
                if code == 201:
                    ids = (body["id"],)
                else:
                    self._judge(answer, body)
        except (ClientError, OSError, TimeoutError, ValueError):
            self.unanswered += 1
        ended = time.time()
        if ids:
            self.accepted.append((invoked, ids[0]))
        self.longest = max(self.longest, ended - invoked)
        outcome = Outcome.OK if ids else Outcome.UNKNOWN
        asked = (self._kind,)
        call = Call("create", marker, "", invoked, ended, outcome, code, ids, asked=asked, options=(Options(),))
        self._own.append(call)
        self._calls.append(call)

    def _judge(self, answer: ClientResponse, body: Any) -> None:
        """A clear error says in a problem's words that the database does not answer, and when to try again."""
        is_clear = answer.content_type == "application/problem+json" and "Retry-After" in answer.headers
        words = f"{answer.status} {body.get('detail', '') if isinstance(body, dict) else ''}"
        if is_clear:
            self.refused[words] += 1
        else:
            self.unclear.append(f"unclear error: {words}")


async def note_return(finding: Finding, probe: Probe, since: float, backs: list[float], what: str) -> None:
    """Wait for the first 201."""
    back = await probe.accepts(since, BACK_SECONDS)
    if back is None:
        finding.violations.append(f"no 201 within {BACK_SECONDS:g} s of {what}")
    else:
        backs.append(back)


async def conclude(finding: Finding, probe: Probe, scene: "Scene", backs: list[float]) -> None:
    """What all faults on PostgreSQL are judged by: clear and timely errors, a quick return, and no false 201."""
    finding.violations += probe.violations()
    finding.violations += await probe.lost(scene.servers.connect, START_SECONDS)
    finding.facts |= {
        "first 201 after its return": spread(backs),
        "creates accepted by the probe": str(len(probe.accepted)),
        "clear errors": "; ".join(f"{number} x {words}" for words, number in probe.refused.items()) or "none",
        "without an answer": str(probe.unanswered),
        "longest answer": f"{probe.longest:.2f} s",
    }
