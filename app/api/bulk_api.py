"""Actions on many tasks."""

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

from starlette.types import Receive, Scope
from uuid_utils.compat import uuid7

from app.api.body import parse, read_body
from app.api.bulk_schemas import BulkBody
from app.api.caller import caller
from app.api.errors import ProblemError
from app.api.idempotency_key import REPLAYED, idempotency_key
from app.api.list_api import visible
from app.api.route import Reply
from app.api.services import Services
from app.api.task_schemas import TaskRenderer
from app.api.traceparent import traceparent
from app.core.task import NewTask, Priority, Task, TaskStatus
from app.core.task_filter import TaskFilter
from app.handler_api.bulk import Action
from app.handlers.bulk.payload import Bulk
from app.queue.create_keyed import KeyedCreator

# The tasks to which it can be done at all.
_STATUSES: dict[Action, frozenset[TaskStatus]] = {
    "cancel": frozenset({TaskStatus.PENDING, TaskStatus.PROCESSING}),
    "retry": frozenset({TaskStatus.FAILED}),
}


class BulkApi:
    """Makes tasks of the kind `bulk`."""

    def __init__(self, services: Services) -> None:
        self._body_limit = services.settings.body_limit_bytes
        self._render = TaskRenderer(services.catalog)
        kept = timedelta(hours=services.settings.idempotency_hours)
        self._creator = KeyedCreator(services.heavy, services.wakeup, services.follow_up, services.emit, kept)

    async def create(self, scope: Scope, receive: Receive) -> bytes | Reply:
        """Cancel or retry all tasks that match a filter and are there now. A task of its own does it.

        Its `progress` says how many it has come by, its `result` how many matched and how many are changed. To cancel
        it stops it where it is.
        """
        data = await read_body(scope, receive, self._body_limit)
        key = idempotency_key(scope, data)
        body = parse(BulkBody, data)
        who = caller(scope)
        payload = Bulk(
            action=body.action, filter=_filter(body), visible=visible(who), dry_run=body.dry_run
        ).model_dump_json()
        # High: what is to stop a flood of tasks should not wait behind it.
        new = NewTask(uuid7(), Bulk.kind, payload, Priority.HIGH, traceparent=traceparent(scope), tenant=who.tenant)
        new.idempotency = key
        (task,) = await self._creator.create([new])
        if not isinstance(task, Task):
            raise task
        answer = self._render(task)
        return answer if task.id == new.id else Reply(HTTPStatus.CREATED, answer, REPLAYED)


def _filter(body: BulkBody) -> TaskFilter:
    wanted = body.filter.to_filter()
    able = _STATUSES[body.action]
    statuses = able & set(wanted.statuses) if wanted.statuses else able
    if not statuses:
        detail = f"has none of those that {body.action} is for: {', '.join(sorted(able))}"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "No task can match that.", [("/filter/status", detail)])
    return replace(wanted, statuses=tuple(sorted(statuses)))
