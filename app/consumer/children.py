"""Child processes for handlers that block or compute: isolation="process"."""

from datetime import datetime

from app.core.config import Settings
from app.core.events import Emit
from app.core.task import Claim
from app.handler_api.outcome import Outcome


class ChildPool:
    """Child processes that are started once and reused."""

    def __init__(self, settings: Settings, emit: Emit) -> None:
        self._settings = settings
        self._emit = emit

    async def run(self, claim: Claim, deadline: datetime | None) -> Outcome:
        """Run the claim in a child."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the children."""
