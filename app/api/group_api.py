"""The calls about groups: create, get and cancel."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

from starlette.types import Receive, Scope
from uuid_utils.compat import uuid7

from app.api.body import parse, read_body
from app.api.callback_url import CallbackUrls
from app.api.caller import caller
from app.api.errors import MOST_ERRORS, Errors, ProblemError
from app.api.group_schemas import (
    NewGroupBody,
    ThenBody,
    render_group,
)
from app.api.idempotency_key import REPLAYED, idempotency_key
from app.api.live import Live
from app.api.new_task_schemas import NewTaskBody
from app.api.route import Reply, id_in_path
from app.api.schemas import to_json
from app.api.services import Services
from app.api.stream import Stream
from app.api.traceparent import traceparent
from app.api.watch import State, Subject
from app.core.caller import EVERYBODY
from app.core.errors import InvalidPayloadError, RejectedRowError, UnknownKindError
from app.core.group import Group, NewGroup
from app.core.task import NewTask
from app.queue.cancel_group import GroupCanceler
from app.queue.create_group import GroupCreator
from app.queue.follow_up import FollowUp
from app.queue.read_group import read_groups
from app.queue.then import sample_content
from app.utils.batcher import Batcher
from app.utils.json_pointer import json_pointer

_COUNT_PAUSE_SECONDS = 0.2  # between two counts of a group that somebody watches
_LARGEST_BATCH = 20  # groups counted in one statement
_AT_ONCE = 500  # tasks checked before other requests get their turn
NOT_FOUND = "There is no group with this id."


class GroupApi:
    """Answers for groups."""

    def __init__(self, services: Services) -> None:
        self._body_limit = services.settings.body_limit_bytes
        self._default_kind = services.settings.default_kind
        self._catalog = services.catalog
        self._callback_urls = CallbackUrls(services.settings, services.catalog)
        self._database = services.heavy
        self._backpressure = services.backpressure
        kept = timedelta(hours=services.settings.idempotency_hours)
        self._creator = GroupCreator(services.heavy, services.wakeup, services.follow_up, services.emit, kept)
        # A cancel waits for all of this, which may take its time: on the connections of groups.
        self._follow_up = FollowUp(services.heavy, services.wakeup, services.emit)
        self._canceler = GroupCanceler(services.heavy, self._follow_up, services.emit)
        self._reads: Batcher[UUID, Group | None] = Batcher(self._read, _LARGEST_BATCH)
        subject = Subject("group", self.find, self._reads.submit, _state, is_group=True, pause=_COUNT_PAUSE_SECONDS)
        self._live = Live(subject, services.hub)

    async def create(self, scope: Scope, receive: Receive) -> bytes | Reply:
        """Keep a group of tasks, all or none, and put them in the queue.

        Once all have ended, whatever became of them, the task `then` is started.
        """
        data = await read_body(scope, receive, self._body_limit)
        key = idempotency_key(scope, data)
        body = parse(NewGroupBody, data)
        self._callback_urls.check(body.callback_url)
        group_id, trace, tenant = uuid7(), traceparent(scope), caller(scope).tenant
        errors: list[tuple[str, str]] = []
        members = []
        for number, task in enumerate(body.tasks):
            member = self._new_task(task, ("tasks", number), trace, tenant, errors)
            members.append(replace(member, group_id=group_id))
            if len(errors) >= MOST_ERRORS:
                break
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        then = None if body.then is None else self._new_task(body.then, ("then",), trace, tenant, errors)
        if errors:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "A task is not what its kind takes.", errors)
        try:
            new = NewGroup(group_id, members, body.on_failure, then, tenant, body.callback_url, idempotency=key)
            async with self._backpressure.room((task.kind for task in members), key):
                group, task_ids = await self._creator.create(new)
        except RejectedRowError as error:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [("/tasks", str(error))]) from error
        answer = render_group(group, task_ids)
        return answer if group.id == group_id else Reply(HTTPStatus.CREATED, answer, REPLAYED)

    async def get(self, scope: Scope, receive: Receive) -> Reply:
        """A group by its id: how many of its tasks have which status, how far they are, and what went wrong first.

        At once, or, with `wait`, as soon as it has ended; with If-None-Match besides, as soon as it is another.
        """
        return await self._live.get(scope, receive)

    async def events(self, scope: Scope, receive: Receive) -> Stream | Reply:
        """A group as it stands, and then each time that it or a task of it has changed, until it has ended.

        Server-sent events, as those of a task; at most five a second, so that large groups are not counted all the
        time.
        """
        return await self._live.events(scope, receive)

    async def cancel(self, scope: Scope, _: Receive) -> bytes:
        """Cancel all tasks of a group that are pending or processing. Its `then` task is not started.

        Canceling again changes nothing.
        """
        group_id = _group_id(scope) if caller(scope) is EVERYBODY else (await self.find(scope)).id
        group = await self._canceler.cancel(group_id)
        if group is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        if group.canceled_at is None:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "The group has already ended; it can't be canceled.")
        return render_group(group)

    async def find(self, scope: Scope) -> Group:
        """The group whose id is in the path. Raises ProblemError: 404 also for what the caller may not see."""
        group = await self._reads.submit(_group_id(scope))
        if group is None or not caller(scope).sees(group.tenant):
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return group

    async def drain(self) -> None:
        """Wait for the statements that are under way."""
        await self._reads.drain()
        await self._follow_up.drain()

    def _new_task(
        self,
        body: NewTaskBody,
        place: tuple[str | int, ...],
        trace: str | None,
        tenant: str | None,
        errors: list[tuple[str, str]],
    ) -> NewTask:
        """The task, checked: what is wrong with it is added to `errors`."""
        kind = self._default_kind if body.kind is None else body.kind
        content = to_json(body.content)
        pointer = json_pointer(place)
        if isinstance(body, ThenBody):
            if "group" in body.content:
                errors.append((f"{pointer}/content/group", "is put in when the group has ended"))
            errors += self._errors(kind, sample_content(content), pointer)
        else:
            errors += self._errors(kind, content, pointer)
        wrong = self._callback_urls.what_is_wrong(body.callback_url)
        if wrong is not None:
            errors.append((f"{pointer}/callback_url", wrong))
        return body.to_task(uuid7(), kind, content, trace, tenant)

    def _errors(self, kind: str, content: str, pointer: str) -> Errors:
        try:
            self._catalog.check(kind, content)
        except UnknownKindError as error:
            return [(f"{pointer}/kind", str(error))]
        except InvalidPayloadError as error:
            return [(f"{pointer}/content{inner}", detail) for inner, detail in error.problems]
        return []

    async def _read(self, ids: list[UUID]) -> Sequence[Group | None]:
        groups = await read_groups(self._database, list(set(ids)))
        return [groups.get(group_id) for group_id in ids]


def _state(group: Group) -> State:
    return State(group.version, group.ended_at is not None, render_group(group), group.total)


def _group_id(scope: Scope) -> UUID:
    group_id = id_in_path(scope, "group_id")
    if group_id is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
    return group_id
