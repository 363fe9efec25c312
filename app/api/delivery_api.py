"""The calls about deliveries: what became of callbacks, and once more."""

from http import HTTPStatus

from starlette.types import Receive, Scope

from app.api.delivery_schemas import render_deliveries, render_delivery
from app.api.errors import ProblemError
from app.api.group_api import GroupApi
from app.api.services import Services
from app.core.group import Group
from app.core.task import Task, TaskStatus
from app.queue.deliveries import read_deliveries, repeat_delivery

_LIVE = frozenset({TaskStatus.PENDING, TaskStatus.PROCESSING})


class DeliveryApi:
    """Answers for the deliveries of tasks and groups."""

    def __init__(self, services: Services, groups: GroupApi) -> None:
        self._database = services.database
        self._follow_up = services.follow_up
        self._reader = services.reader
        self._groups = groups

    async def of_task(self, scope: Scope, _: Receive) -> bytes:
        """What became of the callbacks of a task: each delivery and each try, newest delivery first, 100 at most.

        A task that was retried and has ended again has told each of its ends.
        """
        task = await self._reader.find(scope)
        return render_deliveries(await read_deliveries(self._database, task.id))

    async def of_group(self, scope: Scope, _: Receive) -> bytes:
        """What became of the callback of a group: each delivery and each try, newest delivery first, 100 at most."""
        group = await self._groups.find(scope)
        return render_deliveries(await read_deliveries(self._database, group.id))

    async def repeat_of_task(self, scope: Scope, _: Receive) -> bytes:
        """Tell once more that a task has ended: the same message, with the same `webhook-id`, on a new schedule."""
        task = await self._reader.find(scope)
        return await self._repeat(task, "task", has_ended=task.status not in _LIVE)

    async def repeat_of_group(self, scope: Scope, _: Receive) -> bytes:
        """Tell once more that a group has ended: the same message, with the same `webhook-id`, on a new schedule."""
        group = await self._groups.find(scope)
        return await self._repeat(group, "group", has_ended=group.ended_at is not None)

    async def _repeat(self, what: Task | Group, name: str, *, has_ended: bool) -> bytes:
        if what.callback_url is None:
            raise ProblemError(HTTPStatus.CONFLICT, f"The {name} has no callback_url.")
        if not has_ended:
            raise ProblemError(HTTPStatus.CONFLICT, f"The {name} has not ended.")
        delivery = await repeat_delivery(self._database, self._follow_up, what.id)
        if delivery is None:
            raise ProblemError(HTTPStatus.CONFLICT, "No delivery is kept any more that could be repeated.")
        return render_delivery(delivery)
