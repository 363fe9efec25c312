"""Gathers what running handlers say of their progress, and writes it now and then."""

import asyncio
from contextlib import suppress
from uuid import UUID

from app.core.errors import DatabaseUnavailableError
from app.core.task import Claim
from app.db.engine import Database
from app.handler_api.context import Progress
from app.queue.progress import write_progress
from app.utils.strict_json import strict_json

_EVERY_SECONDS = 0.25


class ProgressWriter:
    """One statement for all runs of this process, every quarter of a second while anything was said."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: dict[UUID, tuple[Claim, str]] = {}  # by claim id
        self._writing: asyncio.Task[None] | None = None

    def note(self, claim: Claim, progress: Progress) -> None:
        """Take the latest word of this run. Raises ValueError, as as_json."""
        self._latest[claim.claim_id] = claim, as_json(progress)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    def forget(self, claim: Claim) -> None:
        """What was said is out of date."""
        self._latest.pop(claim.claim_id, None)

    def is_unwritten(self, claim: Claim) -> bool:
        """Whether this run said something that is not written yet."""
        return claim.claim_id in self._latest

    async def flush(self) -> None:
        """Write at once: before an outcome is recorded, so that what its run said last is not lost."""
        await self._write()

    async def _write_all(self) -> None:
        try:
            while self._latest:
                await asyncio.sleep(_EVERY_SECONDS)
                await self._write()
        finally:
            self._writing = None

    async def _write(self) -> None:
        latest, self._latest = list(self._latest.values()), {}
        if not latest:
            return
        with suppress(DatabaseUnavailableError):  # the recorder says so; the next word of progress is as good
            await write_progress(self._database, [claim for claim, _ in latest], [text for _, text in latest])


def as_json(progress: Progress) -> str:
    """As clients see it. Raises ValueError where it is not made of numbers and text."""
    return strict_json(progress)
