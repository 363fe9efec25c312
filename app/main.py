"""The API process: `uvicorn --factory app.main:create_app`."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from app import __version__
from app.api.backpressure import Backpressure
from app.api.batch_api import BatchApi
from app.api.batch_routes import batch_routes
from app.api.bulk_api import BulkApi
from app.api.delete_api import DeleteApi, delete_routes
from app.api.delivery_api import DeliveryApi
from app.api.delivery_routes import delivery_routes
from app.api.errors import add_error_handlers
from app.api.fast_path import FastPath
from app.api.gate import Gate
from app.api.group_api import GroupApi
from app.api.group_routes import group_routes
from app.api.head import HeadAsGet
from app.api.health_api import health_router
from app.api.hub import Hub
from app.api.key_docs import describe_keys
from app.api.key_ring import KeyRing
from app.api.list_api import ListApi
from app.api.list_routes import list_routes
from app.api.live_routes import live_routes
from app.api.measured import Measured, RequestTimes
from app.api.metrics_api import metrics_route
from app.api.openapi import add_documentation
from app.api.queue_api import QueueApi
from app.api.queue_routes import queue_routes
from app.api.schedule_api import ScheduleApi
from app.api.schedule_routes import schedule_routes
from app.api.services import Services
from app.api.stop_signal import on_stop_signal
from app.api.task_api import TaskApi
from app.api.task_reader import TaskReader
from app.api.task_routes import task_routes
from app.core.config import Settings, load
from app.core.declared import load_declared
from app.core.errors import SettingsError
from app.core.events import to_all
from app.core.logging import log_event, set_up_logging
from app.core.metrics import Metrics
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.follow_up import FollowUp
from app.queue.rate_limit import RateLimiter
from app.queue.versions import read_versions
from app.queue.wakeup import Wakeup

# A request may wait behind a statement that fails before its own does: together that stays under 5 seconds.
STATEMENT_SECONDS = 2.0
STOP_SECONDS = 3.0

# FastAPI's own, for which it looks at each request whether there is any. Metrics and traceparent are ours.
_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, with what it needs. Settings come from the environment where none are given."""
    settings, catalog, keys = _load_or_exit(settings)
    set_up_logging(settings)
    metrics = Metrics()
    times = RequestTimes(metrics.requests)
    emit = to_all(log_event, metrics.count)
    heavy_size = settings.database_pool_size // 2  # of 2 or more
    database = Database(settings.database_url, settings.database_pool_size - heavy_size, STATEMENT_SECONDS)
    heavy = Database(settings.database_url, heavy_size, STATEMENT_SECONDS)
    wakeup = Wakeup(settings.redis_url, emit)
    limiter = RateLimiter(settings.redis_url, emit)
    follow_up = FollowUp(database, wakeup, emit)
    reader = TaskReader(database)
    hub = Hub(wakeup, partial(read_versions, database), settings.max_streams, emit)
    backpressure = Backpressure(settings.max_pending, catalog, database, timedelta(hours=settings.idempotency_hours))
    services = Services(settings, catalog, database, heavy, reader, wakeup, follow_up, hub, emit, backpressure)
    tasks, groups, schedules = TaskApi(services), GroupApi(services), ScheduleApi(services)
    batches, deliveries, queues = BatchApi(services), DeliveryApi(services, groups), QueueApi(services)

    def stop() -> None:
        hub.stop()
        batches.stop()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A full collection over what FastAPI has loaded takes tens of milliseconds, in the middle of some request.
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        following = asyncio.create_task(keys.follow())
        with on_stop_signal(stop):  # streams would hold the server for as long as it waits
            yield
        following.cancel()
        with suppress(TimeoutError):  # of frozen servers: Supervisor waits no longer
            async with asyncio.timeout(STOP_SECONDS):
                await hub.close()
                for part in (tasks, batches, groups, reader):
                    await part.drain()
                await follow_up.drain()
                await wakeup.close()
                await limiter.close()
        await database.close()
        await heavy.close()
        times.flush()

    hot_routes = task_routes(tasks)
    app = FastAPI(
        title="Taskmill",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        routes=[
            *hot_routes,
            *batch_routes(batches),
            *list_routes(ListApi(services), BulkApi(services)),
            *delete_routes(DeleteApi(services)),
            *group_routes(groups),
            *live_routes(tasks, groups),
            *delivery_routes(deliveries),
            *schedule_routes(schedules),
            *queue_routes(queues),
            metrics_route(metrics, times, services),
        ],
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.include_router(health_router(database, wakeup))
    add_documentation(app, catalog.kinds)
    describe_keys(app, keys)
    add_error_handlers(app)
    app.add_middleware(FastPath, routes=hot_routes)  # the last of them: what is added later is further out
    app.add_middleware(Gate, keys=keys, limiter=limiter, rate_limit=settings.rate_limit)
    app.add_middleware(Measured, times=times)
    app.add_middleware(HeadAsGet)
    return app


def _load_or_exit(settings: Settings | None) -> tuple[Settings, Catalog, KeyRing]:
    try:
        settings = settings or load(Settings)
        catalog = Catalog.load(settings)
        load_declared(settings, catalog.check)  # the consumers' concern, but what is wrong stops everybody
        keys = KeyRing(settings, log_event)
    except SettingsError as error:
        sys.exit(f"taskmill: {error}")
    return settings, catalog, keys
