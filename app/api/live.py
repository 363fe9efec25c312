"""A task or a group as it changes: streams of events, long polls, and answers to those who have it already."""

import asyncio
import random
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any, Generic
from uuid import UUID

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api.caller import caller
from app.api.conditions import Conditions, conditions, etag, header
from app.api.head import is_head
from app.api.hub import Hub
from app.api.route import Reply, id_in_path
from app.api.stream import Stream, on_disconnect
from app.api.watch import Found, State, Subject, Watcher

HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = (1_000, 3_000)  # so that all who lose a process do not come back at once
_HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx passes on each event at once
)


class Live(Generic[Found]):
    """Answers for tasks, or for groups."""

    def __init__(self, subject: Subject[Found], hub: Hub) -> None:
        self._subject = subject
        self._hub = hub

    async def get(self, scope: Scope, receive: Receive) -> Reply:
        """As it stands; or, where the request says that it would wait, as soon as it has ended or is another."""
        asked = conditions(scope)
        state = self._subject.state(await self._subject.find(scope))
        if asked is None:
            return Reply(HTTPStatus.OK, state.body, (etag(state.version),))
        if asked.wait and not _is_answer(asked, state):
            state = await self._wait(scope, receive, asked, state)
        headers = [etag(state.version)]
        if asked.preferred:
            headers.append((b"preference-applied", b"wait=%d" % asked.wait))
        if asked.has(state.version):
            return Reply(HTTPStatus.NOT_MODIFIED, None, headers)
        return Reply(HTTPStatus.OK, state.body, headers)

    async def events(self, scope: Scope, _: Receive) -> Stream | Reply:
        """As it stands, and then each change of it, until it has ended."""
        state = self._subject.state(await self._subject.find(scope))
        has_it = header(scope, b"last-event-id") == str(state.version)
        if state.has_ended and has_it:
            return Reply(HTTPStatus.NO_CONTENT, None, _HEADERS[1:])
        stream = EventStream(self._subject.name, None if has_it else state, state.version)
        if not state.has_ended and not is_head(scope):
            stream.watch(self._hub, caller(scope).name, self._subject, _id(scope, self._subject), state)
        return stream

    async def _wait(self, scope: Scope, receive: Receive, asked: Conditions, state: State) -> State:
        end = _now() + asked.wait
        with (
            self._hub.watch(caller(scope).name, self._subject, _id(scope, self._subject), state) as watcher,
            on_disconnect(receive, watcher.leave),
        ):
            while not _is_answer(asked, state) and not watcher.is_over and _now() < end:
                state = await watcher.next(end - _now()) or state
        if watcher.has_left:
            raise ClientDisconnect
        if _is_answer(asked, state) or self._hub.is_stopping:
            return state
        return self._subject.state(await self._subject.find(scope))  # the last word, also without Redis


class EventStream(Stream):
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

    headers = _HEADERS

    def __init__(self, name: str, first: State | None, version: int) -> None:
        self._name = name
        self._first: bytes | None = b"retry: %d\n\n" % random.randint(*_RETRY_MILLISECONDS)  # noqa: S311 - spreads load
        if first is not None:
            self._first += _event(name, first)
        self._version = version
        self._watcher: Watcher | None = None
        self._held = ExitStack()

    def watch(self, hub: Hub, caller_name: str, subject: Subject[Any], topic_id: UUID, state: State) -> None:
        """Go on after the first event. Raises ProblemError: too many."""
        self._watcher = self._held.enter_context(hub.watch(caller_name, subject, topic_id, state))

    async def next(self) -> bytes | None:
        """The next event, or a comment where nothing has happened for a while, which keeps the connection open."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while self._watcher is not None:
            state = await self._watcher.next(HEARTBEAT_SECONDS)
            if state is None:
                return None if self._watcher.is_over else b":\n\n"
            if state.version > self._version:
                self._version = state.version
                if state.has_ended:
                    self.close()
                return _event(self._name, state)
        return None

    def leave(self) -> None:
        """The client has gone."""
        if self._watcher is not None:
            self._watcher.leave()

    def close(self) -> None:
        """Watch no more."""
        self._watcher = None
        self._held.close()


def _event(name: str, state: State) -> bytes:
    # In JSON a line break can only stand between two values, where a space does as well.
    data = state.body.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (state.version, name.encode(), data)


def _is_answer(asked: Conditions, state: State) -> bool:
    return state.has_ended or (asked.tags is not None and not asked.has(state.version))


def _id(scope: Scope, subject: Subject[Any]) -> UUID:
    found = id_in_path(scope, f"{subject.name}_id")
    assert found is not None  # else it would not have been found
    return found


def _now() -> float:
    return asyncio.get_running_loop().time()
