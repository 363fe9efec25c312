"""The calls for schedules."""

from http import HTTPStatus

from starlette.types import Receive, Scope
from uuid_utils.compat import uuid7

from app.api.body import parse, read_body
from app.api.caller import caller
from app.api.errors import ProblemError
from app.api.query import page_limit, read_query, refused, single
from app.api.route import Reply
from app.api.schedule_schemas import (
    ScheduleBody,
    render_schedule,
    render_schedules,
)
from app.api.services import Services
from app.api.task_schemas import TaskRenderer
from app.api.traceparent import traceparent
from app.core.errors import InvalidPayloadError, UnknownKindError
from app.core.schedule import NAME_RULE, is_name
from app.core.task import NewTask, Task
from app.queue.create import Creator
from app.queue.schedule import delete_schedule, list_schedules, put_schedule, read_schedule

MOST = 1_000
USUAL = 100
_PAGING = {"after", "limit"}
NOT_FOUND = "There is no schedule with this name."


class ScheduleApi:
    """Answers for schedules."""

    def __init__(self, services: Services) -> None:
        self._body_limit = services.settings.body_limit_bytes
        self._default_kind = services.settings.default_kind
        self._catalog = services.catalog
        self._render_task = TaskRenderer(services.catalog)
        self._database = services.database
        self._creator = Creator(services.database, services.wakeup, services.follow_up, services.emit)

    async def put(self, scope: Scope, receive: Receive) -> Reply:
        """Make a schedule, or change the one of this name. Each tick makes one task of this kind and content.

        A change of `cron`, `timezone` or `enabled` counts from now. Putting it again as it is changes nothing.
        """
        name: str = scope["path_params"]["name"]
        body = parse(ScheduleBody, await read_body(scope, receive, self._body_limit))
        if not is_name(name):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The name in the path is wrong: {NAME_RULE}.")
        new = body.to_schedule(name, self._default_kind, self._catalog.check)
        schedule, now, is_new = await put_schedule(self._database, new)
        return Reply(HTTPStatus.CREATED if is_new else HTTPStatus.OK, render_schedule(schedule, now))

    async def list_page(self, scope: Scope, _: Receive) -> bytes:
        """All schedules, by name, page by page."""
        after, limit = _page(scope["query_string"])
        found = await list_schedules(self._database, after, limit + 1)
        return render_schedules(found[:limit], found[limit - 1][0].name if len(found) > limit else None)

    async def get(self, scope: Scope, _: Receive) -> bytes:
        """A schedule by its name, with what its expression means and its next three runs."""
        found = await read_schedule(self._database, _name(scope))
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return render_schedule(*found)

    async def delete(self, scope: Scope, _: Receive) -> Reply:
        """Delete a schedule. The tasks that it has made stay as they are."""
        if not await delete_schedule(self._database, _name(scope)):
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        return Reply(HTTPStatus.NO_CONTENT, None)

    async def run(self, scope: Scope, _: Receive) -> bytes:
        """Make a task of this schedule now, enabled or not. Its ticks are not affected."""
        found = await read_schedule(self._database, _name(scope))
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        schedule, _now = found
        try:
            self._catalog.check(schedule.kind, schedule.content)
        except UnknownKindError as error:
            raise ProblemError(HTTPStatus.CONFLICT, f"The schedule's kind is gone. {error}") from None
        except InvalidPayloadError as error:
            detail = f"The schedule's kind no longer takes its content: {error}."
            raise ProblemError(HTTPStatus.CONFLICT, detail) from None
        new = NewTask(
            uuid7(), schedule.kind, schedule.content, traceparent=traceparent(scope), tenant=caller(scope).tenant
        )
        (task,) = await self._creator.create([new])
        if not isinstance(task, Task):
            raise task
        return self._render_task(task)


def _name(scope: Scope) -> str:
    """The name in the path. What can't be one is the name of no schedule."""
    name: str = scope["path_params"]["name"]
    if not is_name(name):
        raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
    return name


def _page(query_string: bytes) -> tuple[str, int]:
    """The name after which the page begins, and the most schedules on it."""
    pairs = read_query(query_string)
    for name, _ in pairs:
        if name not in _PAGING:
            raise refused(name, "is not a parameter of this call")
    found = single(pairs, _PAGING)
    after = found.get("after", "")
    if after and not is_name(after):
        raise refused("after", "is not the name of a schedule")
    return after, page_limit(found.get("limit"), USUAL, MOST)
