"""Progress of running tasks, and checkpoints: both behind the fence (docs/protocol.md)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.core.errors import DatabaseUnavailableError, LostClaimError
from app.core.task import Claim
from app.db.engine import Database
from app.queue.finish import HELD, of_row

if TYPE_CHECKING:
    import asyncpg

# Primary key. No index has the column, so these updates stay on the row's page. Whoever holds the row right now is
# about to change more than its progress: it is skipped, and the next word of progress gets through.
_PROGRESS = f"""
WITH held AS MATERIALIZED (
    SELECT id FROM tasks WHERE {HELD} FOR UPDATE SKIP LOCKED
)
UPDATE tasks SET progress = {of_row(3, "text")}::json, version = version + 1, updated_at = clock_timestamp()
WHERE id = ANY(ARRAY(SELECT id FROM held))
"""

_GONE = (
    "The checkpoint's connection is gone: PostgreSQL went away, or ended the transaction because it stood idle for "
    "LEASE_SECONDS"
)

_IS_HELD = "SELECT FROM tasks WHERE id = $1 AND claim_id = $2 AND (status = 'processing') IS TRUE"

# The fence, as the last statement of the handler's transaction: from here to its COMMIT nobody else can change the row,
# and before here nobody has to wait for it. docs/decisions/0007.
_CHECKPOINT = """
UPDATE tasks SET progress = coalesce($3::text::json, progress), cursor = coalesce($4::text::json, cursor),
    version = version + 1, updated_at = clock_timestamp()
WHERE id = $1 AND claim_id = $2 AND (status = 'processing') IS TRUE
RETURNING 1
"""


async def write_progress(database: Database, claims: Sequence[Claim], progress: Sequence[str]) -> None:
    """Note how far these runs are, as JSON text. Runs that no longer hold their tasks are passed over."""
    await database.fetch(_PROGRESS, [c.id for c in claims], [c.claim_id for c in claims], progress)


@asynccontextmanager
async def checkpoint(
    database: Database, claim: Claim, progress: str | None, cursor: str | None
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A transaction that commits together with progress and cursor (JSON text; None: as they are), or not at all.

    Raises LostClaimError where the claim is lost, before or after the body; DatabaseUnavailableError where PostgreSQL
    is away: if that was at the COMMIT, whether it took effect is unknown, and the next claim's cursor tells.
    """
    raised: Exception | None = None
    async with database.connection() as connection:
        try:
            async with connection.transaction():
                if not await connection.fetch(_IS_HELD, claim.id, claim.claim_id):
                    raise LostClaimError  # noqa: TRY301 - the transaction is rolled back by it
                try:
                    yield connection
                except Exception as error:
                    raised = error
                    raise
                if not await connection.fetch(_CHECKPOINT, claim.id, claim.claim_id, progress, cursor):
                    raise LostClaimError  # noqa: TRY301 - the same
        except Exception as error:
            if connection.is_closed():
                raise DatabaseUnavailableError(f"{_GONE} ({type(error).__name__}: {error})") from error
            if error is not raised:
                raise
    if raised is not None:  # the handler's own, whatever it is, and not what it would mean of our connection
        raise raised
