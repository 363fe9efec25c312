"""What waiting costs: ten thousand tasks that sleep, and processes that have nothing to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from bench.api import Api
from bench.run import Run
from bench.subject import Subject, running
from bench.usage import cpu_seconds, peak_mib
from tests.support.proxy import EXECUTE, Proxy
from tests.support.waiting import until
from tests.support.wire import connect, request

SLEEP_SECONDS = 5
_FILL = """
INSERT INTO tasks (id, kind, content)
SELECT gen_random_uuid(), 'simulate', json_build_object('simulate_seconds', $2::int) FROM generate_series(1, $1::int)
"""
_TOOK = "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM tasks"
# The last of the statements of a consumer's start.
_STARTED = b"WITH RECURSIVE holder"
_SETTLE_SECONDS = 3


async def measure_sleepers(run: Run) -> None:
    """Tasks that all sleep at once, in one consumer with as many slots."""
    async with running(Subject, run.servers) as subject:
        await subject.sql.execute(_FILL, run.dose.sleepers, SLEEP_SECONDS)
        await subject.sql.execute("ANALYZE tasks")
        await subject.start_consumers(consumer_concurrency=run.dose.sleepers)
        await subject.has_ended()
        run.add(subject.name, "sleepers", "", run.dose.sleepers)
        run.add(subject.name, "sleepers_took", "s", await subject.sql.fetchval(_TOOK))
        run.add(subject.name, "sleepers_peak", "MiB", peak_mib(one.pid for one in subject.consumers))


async def measure_idle(run: Run) -> None:
    """One API process and one consumer with nothing to do, each with a proxy of its own that counts statements."""
    async with AsyncExitStack() as stack:
        subject = await stack.enter_async_context(running(Subject, run.servers))
        proxies = {
            role: await stack.enter_async_context(_proxy(subject.env["DATABASE_URL"])) for role in ("api", "consumer")
        }
        api = await stack.enter_async_context(Api(proxies["api"].url, subject.redis_url, log_level="warning"))
        api.launch_api()
        async with connect(api.url) as wire:
            await wire.ask(request("GET", "/readyz"))
        await subject.start_consumers(database_url=proxies["consumer"].url)
        await until(lambda: _has_asked(proxies["consumer"]), 30)
        pids = {"api": api.processes[0].pid, "consumer": subject.consumers[0].pid}
        await asyncio.sleep(_SETTLE_SECONDS)
        for number in range(run.dose.rounds):
            await _watch(run, subject.name, pids, proxies, number)


async def _watch(run: Run, name: str, pids: Mapping[str, int], proxies: Mapping[str, Proxy], number: int) -> None:
    used = {role: cpu_seconds([pid]) for role, pid in pids.items()}
    for proxy in proxies.values():
        proxy.requests.clear()
    begin = time.monotonic()
    await asyncio.sleep(run.dose.idle_seconds)
    seconds = time.monotonic() - begin
    for role, pid in pids.items():
        statements = sum(sent.count(EXECUTE) for sent in proxies[role].requests)
        run.add(name, f"idle_statements_{role}", "1/s", statements / seconds, number)
        run.add(name, f"idle_cpu_{role}", "%", 100 * (cpu_seconds([pid]) - used[role]) / seconds, number)


async def _has_asked(proxy: Proxy) -> bool:
    return any(_STARTED in sent for sent in proxy.requests)


@asynccontextmanager
async def _proxy(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
