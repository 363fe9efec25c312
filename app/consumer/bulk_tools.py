"""Finds tasks and acts on them, for the kind `bulk`: by the same statements as the API, with the same that follows."""

from collections.abc import Sequence
from uuid import UUID

from app.core.events import Emit
from app.core.task_filter import TaskFilter, Visible
from app.db.engine import Database
from app.handler_api.bulk import Action, Found
from app.queue.cancel import Canceler
from app.queue.follow_up import FollowUp
from app.queue.retry import Reopener
from app.queue.select import select_ids
from app.queue.wakeup import Wakeup


class BulkActions:
    """The BulkTools of this process. `internal`: kinds that it leaves alone."""

    def __init__(
        self, database: Database, wakeup: Wakeup, follow_up: FollowUp, internal: Sequence[str], emit: Emit
    ) -> None:
        self._database = database
        self._internal = internal
        self._canceler = Canceler(database, wakeup, follow_up, emit)
        self._reopener = Reopener(database, follow_up, emit)

    async def find(self, wanted: TaskFilter, visible: Visible, before: UUID, limit: int) -> Found:
        """As BulkTools."""
        page = await select_ids(self._database, wanted, visible, before, limit, self._internal)
        return Found(page.ids, page.before)

    async def act(self, action: Action, ids: Sequence[UUID]) -> int:
        """As BulkTools."""
        if action == "cancel":
            return await self._canceler.cancel_all(ids)
        return await self._reopener.reopen_all(ids)
