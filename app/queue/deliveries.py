"""The deliveries of a task or a group: read them, and have its end told once more."""

from uuid import UUID

from app.core.delivery import Delivery
from app.db.engine import Database
from app.queue.callback import HEAD, UUID7
from app.queue.follow_up import FollowUp

MOST = 100

# In the order of core/delivery.py's Delivery.
_COLUMNS = """
id, head[2], head[3], head[1], status, result::text, error::text, history::text, run_at, created_at, finished_at
"""

# Index tasks_callbacks.
_SELECT = f"""
SELECT {_COLUMNS} FROM tasks CROSS JOIN LATERAL {HEAD} AS head
WHERE callback_of = $1 ORDER BY tasks.id DESC LIMIT {MOST}
"""

# The same message, so that a receiver that has had it knows it again. Index tasks_callbacks.
_REPEAT = f"""
WITH made AS (
    INSERT INTO tasks (id, kind, content, callback_of, tenant, traceparent)
    SELECT {UUID7}, kind, content, callback_of, tenant, traceparent
    FROM (SELECT * FROM tasks WHERE callback_of = $1 ORDER BY id DESC LIMIT 1) AS last
    RETURNING *
)
SELECT {_COLUMNS} FROM made AS tasks CROSS JOIN LATERAL {HEAD} AS head
"""


async def read_deliveries(database: Database, of: UUID) -> list[Delivery]:
    """The deliveries of a task or a group, newest first, MOST of them."""
    return [Delivery(*row) for row in await database.fetch(_SELECT, of)]


async def repeat_delivery(database: Database, follow_up: FollowUp, of: UUID) -> Delivery | None:
    """Tell the last end of a task or a group once more; None where no delivery of it is kept any more.

    Raises DatabaseUnavailableError: whether there will be a delivery is then unknown, and the call may be repeated.
    """
    rows = await database.fetch(_REPEAT, of)
    if not rows:
        return None
    delivery = Delivery(*rows[0])
    follow_up.told([delivery.id])
    return delivery
