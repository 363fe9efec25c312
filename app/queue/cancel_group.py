"""Cancel a group: mark it, then cancel its live members (docs/groups.md)."""

from uuid import UUID

from app.core.events import Emit, GroupCanceled
from app.core.group import Group
from app.db.engine import Database
from app.queue.follow_up import FollowUp
from app.queue.read_group import read_groups

# A statement of its own: once committed, the sweep cancels the members whatever dies next. Primary key. Of a cancel and
# the group's end one comes first, and the other finds no row.
_MARK = """
UPDATE groups SET canceled_at = clock_timestamp()
WHERE id = $1 AND ended_at IS NULL AND canceled_at IS NULL
RETURNING 1
"""


class GroupCanceler:
    """Cancels groups."""

    def __init__(self, database: Database, follow_up: FollowUp, emit: Emit) -> None:
        self._database = database
        self._follow_up = follow_up
        self._emit = emit

    async def cancel(self, group_id: UUID) -> Group | None:
        """Cancel it where it has not ended; the group as it then stands, None where there is none.

        `canceled_at` says whether it is canceled, now or before. Raises DatabaseUnavailableError; a repeated call goes
        on where this one stopped, and so does the sweep.
        """
        if await self._database.fetch(_MARK, group_id):
            self._follow_up.changed([group_id])
            self._emit(GroupCanceled(group_id))
        await self._follow_up.settle([group_id])
        return (await read_groups(self._database, [group_id])).get(group_id)
