"""The calls about queues: how they are, pause and resume; and why a task is not running."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from starlette.types import Receive, Scope

from app.api.body import parse, read_body
from app.api.caller import caller, require_no_tenant
from app.api.errors import ProblemError
from app.api.json_text import instant
from app.api.queue_schemas import QueueChange
from app.api.schemas import to_json
from app.api.services import Services
from app.api.task_reader import NOT_FOUND as NO_TASK
from app.api.why_text import render_why
from app.core.load import Load, total
from app.queue.counts import read_loads
from app.queue.pause import read_paused, set_paused
from app.queue.queues import LiveConsumer, live_consumers, read_oldest
from app.queue.why import read_why

NOT_FOUND = "There is no queue with this name."
NOT_ALLOWED = "Queues are not for keys of a tenant, and only a key with the role `admin` changes them."
UNKNOWN = "(unknown)"  # of kinds that no handler of this API has: another release's, or long gone


class QueueApi:
    """Answers for queues. What they have is configuration: each kind's handler says which queue it is in."""

    def __init__(self, services: Services) -> None:
        self._body_limit = services.settings.body_limit_bytes
        self._lease_seconds = services.settings.lease_seconds
        self._queues = services.catalog.queues
        self._queue_of = {kind: queue for queue, kinds in self._queues.items() for kind in kinds}
        self._database = services.heavy
        self._reader = services.reader

    async def list_all(self, scope: Scope, _: Receive) -> bytes:
        """All queues: how many tasks wait, how long, how fast they come and go, and who works on them."""
        require_no_tenant(scope, NOT_ALLOWED)
        return to_json({"queues": await self._views()}).encode()

    async def get(self, scope: Scope, _: Receive) -> bytes:
        """A queue by its name."""
        require_no_tenant(scope, NOT_ALLOWED)
        return await self._view(scope["path_params"]["name"])

    async def change(self, scope: Scope, receive: Receive) -> bytes:
        """Pause or resume a queue. No consumer claims tasks of a paused queue, also after restarts.

        What runs goes on, and everything else works as before: tasks are created, canceled, and come due.
        """
        require_no_tenant(scope, NOT_ALLOWED)
        body = parse(QueueChange, await read_body(scope, receive, self._body_limit))
        name: str = scope["path_params"]["name"]
        if name not in self._queues:
            raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)
        await set_paused(self._database, name, self._queues[name], is_paused=body.paused)
        return await self._view(name)

    async def why(self, scope: Scope, _: Receive) -> bytes:
        """Why a task is not running: of what holds it back, the first thing that would have to change."""
        task = await self._reader.find(scope)
        queue = self._queue_of.get(task.kind)
        kinds = [task.kind] if queue is None else self._queues[queue]
        why = await read_why(self._database, task.id, queue, kinds, self._lease_seconds)
        if why is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, NO_TASK)
        return render_why(why, queue or UNKNOWN, caller(scope))

    async def _view(self, name: str) -> bytes:
        for view in await self._views():
            if view["name"] == name:
                return to_json(view).encode()
        raise ProblemError(HTTPStatus.NOT_FOUND, NOT_FOUND)

    async def _views(self) -> list[dict[str, Any]]:
        loads, consumers, paused = await asyncio.gather(
            read_loads(self._database),
            live_consumers(self._database, self._lease_seconds),
            read_paused(self._database),
        )
        queues = dict(self._queues)
        if unknown := sorted(kind for kind, load in loads.items() if load.kept and kind not in self._queue_of):
            queues[UNKNOWN] = unknown
        oldest = await read_oldest(self._database, [kind for kinds in queues.values() for kind in kinds])
        return [
            _view(name, kinds, loads, consumers, [oldest[kind] for kind in kinds if kind in oldest], paused.get(name))
            for name, kinds in sorted(queues.items())
        ]


def _view(
    name: str,
    kinds: Sequence[str],
    loads: Mapping[str, Load],
    consumers: Sequence[LiveConsumer],
    waits: Sequence[float],
    paused_at: datetime | None,
) -> dict[str, Any]:
    load = total(loads.get(kind, Load()) for kind in kinds)
    return {
        "name": name,
        "kinds": kinds,
        "counts": {
            status: getattr(load, status) for status in ("pending", "processing", "completed", "failed", "canceled")
        },
        "oldest_wait_seconds": round(max(waits), 3) if waits else None,
        "created_per_minute": round(load.created_per_minute, 1),
        "ended_per_minute": round(load.ended_per_minute, 1),
        "consumers": [
            {
                "id": str(consumer.id),
                "host": consumer.host,
                "pid": consumer.pid,
                "kinds": served,
                "started_at": instant(consumer.started_at),
                "beat_at": instant(consumer.beat_at),
            }
            for consumer in consumers
            if (served := [kind for kind in kinds if kind in consumer.kinds])
        ],
        "paused_at": instant(paused_at),
    }
