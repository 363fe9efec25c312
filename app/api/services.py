"""What the calls work with: one of each for a process."""

from dataclasses import dataclass

from app.api.backpressure import Backpressure
from app.api.hub import Hub
from app.api.task_reader import TaskReader
from app.core.config import Settings
from app.core.events import Emit
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup


@dataclass(frozen=True, slots=True)
class Services:
    """Made by app/main.py, which also closes them."""

    settings: Settings
    catalog: Catalog
    database: Database
    heavy: Database  # for the calls whose statements may take long, so that no other call waits for them
    reader: TaskReader
    wakeup: Wakeup
    follow_up: FollowUp
    hub: Hub
    emit: Emit
    backpressure: Backpressure
