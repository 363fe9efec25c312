"""What a consumer is made of, put together."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

from app.consumer.children import ChildPool
from app.consumer.executor import Executor
from app.consumer.fetch import Fetcher
from app.consumer.forks import Forks, Server
from app.consumer.heartbeat import Lease
from app.consumer.lane import make_lanes
from app.consumer.maintenance import Reconciler, Sweeper
from app.consumer.quarantine import QuarantineFetcher
from app.consumer.quarantine_pool import QuarantinePool
from app.consumer.recorder import Recorder
from app.consumer.tools import Toolbox
from app.core.config import Settings
from app.core.events import Emit
from app.db.engine import Database
from app.handlers import Catalog
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup

_STATEMENT_SECONDS = 10.0  # nobody waits for an answer; a server this slow is better waited for than asked again
_QUARANTINE_POOL_SIZE = 2  # it runs one task, and there may be several beside each consumer


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Of one consumer process."""

    lease: Lease
    database: Database
    wakeup: Wakeup
    follow_up: FollowUp
    recorder: Recorder
    toolbox: Toolbox
    forks: Forks
    children: ChildPool
    executor: Executor
    fetchers: list[Fetcher] | list[QuarantineFetcher]
    reconciler: Reconciler
    sweeper: Sweeper | None  # none in quarantine
    quarantines: QuarantinePool  # that never starts one, there

    @property
    def kinds(self) -> list[str]:
        """That it runs."""
        return [kind for lane in self.executor.lanes for kind in lane.kinds]


def make_parts(
    settings: Settings,
    catalog: Catalog,
    emit: Emit,
    *,
    server: Server,
    is_quarantine: bool,
    consumer_id: UUID,
    on_crash: Callable[[BaseException], None],
) -> Parts:
    """Nothing is connected or started yet."""
    if is_quarantine:
        settings = settings.model_copy(update={"database_pool_size": _QUARANTINE_POOL_SIZE})
    database = Database(settings.database_url, settings.database_pool_size, _STATEMENT_SECONDS)
    wakeup = Wakeup(settings.redis_url, emit)
    follow_up = FollowUp(database, wakeup, emit)
    lease = Lease(consumer_id)
    recorder = Recorder(database, follow_up, emit)
    toolbox = Toolbox(settings, catalog, database, wakeup, emit)
    forks = Forks(server, on_crash)
    children = ChildPool(settings, forks, emit)
    lanes = make_lanes(settings, catalog, quarantine=is_quarantine)
    executor = Executor(
        lanes,
        catalog,
        toolbox,
        children,
        recorder,
        emit,
        grace_seconds=settings.cancel_grace_seconds,
        on_crash=on_crash,
    )
    quarantines = QuarantinePool(database, forks, settings.child_processes, emit)
    poll = settings.poll_seconds

    def pause_lanes(queues: Collection[str]) -> None:
        for lane in lanes:
            lane.pause({kind for kind in lane.kinds if catalog.handler(kind).queue in queues})

    fetchers: list[Fetcher] | list[QuarantineFetcher]
    sweeper = None
    if is_quarantine:
        fetchers = [QuarantineFetcher(database, wakeup, executor, lease, poll_seconds=poll, emit=emit)]
    else:
        fetchers = [Fetcher(lane, database, wakeup, executor, lease, poll_seconds=poll, emit=emit) for lane in lanes]
        kinds = [kind for lane in lanes for kind in lane.kinds]
        sweeper = Sweeper(database, wakeup, follow_up, kinds, lease, settings, emit, quarantines, pause_lanes)
    return Parts(
        lease=lease,
        database=database,
        wakeup=wakeup,
        follow_up=follow_up,
        recorder=recorder,
        toolbox=toolbox,
        forks=forks,
        children=children,
        executor=executor,
        fetchers=fetchers,
        reconciler=Reconciler(database, follow_up, executor, lease, emit),
        sweeper=sweeper,
        quarantines=quarantines,
    )
