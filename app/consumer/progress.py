"""Gathers what running handlers say of their progress, and writes it now and then."""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from app.core.errors import DatabaseUnavailableError
from app.core.task import Claim
from app.db.engine import Database
from app.handler_api.context import Progress
from app.queue.progress import write_progress
from app.queue.wakeup import Wakeup
from app.utils.strict_json import strict_json

_EVERY_SECONDS = 0.25
_LONGEST_MESSAGE = 2_000


class ProgressWriter:
    """One statement for all runs of this process, every quarter of a second while anything was said."""

    def __init__(self, database: Database, wakeup: Wakeup) -> None:
        self._database = database
        self._wakeup = wakeup
        self._latest: dict[UUID, tuple[Claim, str]] = {}  # by claim id
        self._in_flight: Collection[UUID] = ()
        self._writing: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # one statement at a time: an older word must not come after a newer one

    def note(self, claim: Claim, progress: Progress) -> None:
        """Take the latest word of this run. Raises ValueError, as as_json."""
        self._latest[claim.claim_id] = claim, as_json(progress)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def forget(self, claim: Claim) -> None:
        """What was said is out of date, and nothing of it is written after this."""
        self._latest.pop(claim.claim_id, None)
        if claim.claim_id in self._in_flight:
            async with self._lock:
                pass

    def is_unwritten(self, claim: Claim) -> bool:
        """Whether this run said something that is not written yet."""
        return claim.claim_id in self._latest or claim.claim_id in self._in_flight

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
        async with self._lock:
            latest, self._latest = self._latest, {}
            if not latest:
                return
            self._in_flight = latest.keys()
            claims, texts = [claim for claim, _ in latest.values()], [text for _, text in latest.values()]
            try:
                with suppress(DatabaseUnavailableError):  # the recorder says so; the next word of progress is as good
                    await write_progress(self._database, claims, texts)
                    for claim in claims:
                        self._wakeup.announce_changed(changed_by(claim))
            finally:
                self._in_flight = ()


def changed_by(claim: Claim) -> Iterable[UUID]:
    """What has a new version when this run has said how far it is."""
    return (claim.id,) if claim.group_id is None else (claim.id, claim.group_id)


def as_json(progress: Progress) -> str:
    """As clients see it. Raises TypeError and ValueError where it is not made of numbers and text."""
    for number in (progress.done, progress.total):
        if isinstance(number, bool) or not isinstance(number, int | float | None):
            raise TypeError(f"progress is told in numbers, not as {type(number).__name__}")
    message = progress.message
    if message is not None:
        if not isinstance(message, str):
            raise TypeError(f"the message of a progress is text, not {type(message).__name__}")
        # PostgreSQL, which looks into it to sum up groups, takes no NUL.
        progress = replace(progress, message=message[:_LONGEST_MESSAGE].replace("\0", "\ufffd"))
    return strict_json(progress)
