"""The API process: `uvicorn --factory app.main:create_app`."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from app import __version__
from app.api.backpressure import Backpressure
from app.api.errors import add_error_handlers
from app.api.group_api import GroupApi
from app.api.group_routes import group_routes
from app.api.head import HeadAsGet
from app.api.health_api import health_router
from app.api.openapi import add_documentation
from app.api.queue_api import QueueApi
from app.api.queue_routes import queue_routes
from app.api.schedule_api import ScheduleApi
from app.api.schedule_routes import schedule_routes
from app.api.services import Services
from app.api.task_api import TaskApi
from app.api.task_reader import TaskReader
from app.api.task_routes import task_routes
from app.core.config import Settings, load
from app.core.declared import load_declared
from app.core.errors import SettingsError
from app.core.logging import log_event, set_up_logging
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup

# A request may wait behind a statement that fails before its own does: together that stays under 5 seconds.
STATEMENT_SECONDS = 2.0
STOP_SECONDS = 3.0


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, with what it needs. Settings come from the environment where none are given."""
    settings, catalog = _load_or_exit(settings)
    set_up_logging(settings)
    database = Database(settings.database_url, settings.database_pool_size, STATEMENT_SECONDS)
    wakeup = Wakeup(settings.redis_url, log_event)
    follow_up = FollowUp(database, wakeup, log_event)
    reader = TaskReader(database)
    backpressure = Backpressure(settings.max_pending, catalog, database)
    services = Services(settings, catalog, database, reader, wakeup, follow_up, log_event, backpressure)
    tasks, groups, schedules = TaskApi(services), GroupApi(services), ScheduleApi(services)
    queues = QueueApi(services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A full collection over what FastAPI has loaded takes tens of milliseconds, in the middle of some request.
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        yield
        with suppress(TimeoutError):  # of frozen servers: Supervisor waits no longer
            async with asyncio.timeout(STOP_SECONDS):
                for part in (tasks, groups, reader):
                    await part.drain()
                await follow_up.drain()
                await wakeup.close()
        await database.close()

    app = FastAPI(
        title="Taskmill",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        routes=[
            *task_routes(tasks),
            *group_routes(groups),
            *schedule_routes(schedules),
            *queue_routes(queues),
        ],
        redirect_slashes=False,
    )
    app.include_router(health_router(database, wakeup))
    add_documentation(app, catalog.kinds)
    add_error_handlers(app)
    app.add_middleware(HeadAsGet)
    return app


def _load_or_exit(settings: Settings | None) -> tuple[Settings, Catalog]:
    try:
        settings = settings or load(Settings)
        catalog = Catalog.load(settings)
        load_declared(settings, catalog.check)  # the consumers' concern, but what is wrong stops everybody
    except SettingsError as error:
        sys.exit(f"taskmill: {error}")
    return settings, catalog
