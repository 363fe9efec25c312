"""What API classes are made with, in the test's own process."""

from functools import partial

from app.api.backpressure import Backpressure
from app.api.hub import Hub
from app.api.services import Services
from app.api.task_reader import TaskReader
from app.core.config import Settings
from app.core.events import Emit
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.follow_up import FollowUp
from app.queue.versions import read_versions
from app.queue.wakeup import Wakeup


def services_of(settings: Settings, database: Database, wakeup: Wakeup, emit: Emit) -> Services:
    """As app/main.py makes them."""
    catalog = Catalog.load(settings)
    return Services(
        settings,
        catalog,
        database,
        database,
        TaskReader(database),
        wakeup,
        FollowUp(database, wakeup, emit),
        Hub(wakeup, partial(read_versions, database), settings.max_streams, emit),
        emit,
        Backpressure(settings.max_pending, catalog, database),
    )
