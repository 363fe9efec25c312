"""Creates and reads by the number of connections, beside the naive implementation and a POST that does nothing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from bench.floor import Floor, FrameworkFloor
from bench.load import Load, get, post
from bench.naive.subject import Naive
from bench.run import Run
from bench.subject import Subject
from bench.usage import cpu_seconds, peak_mib
from tests.support.wire import connect, request

_READ_IDS = 200
SIXTY_FOUR = 64  # connections, where one number must do


async def measure_creates(run: Run) -> None:
    """No consumer runs, so that this is the API alone; an empty table at each step."""
    async with AsyncExitStack() as stack:
        subjects = await run.open(stack, Subject, Naive)
        for subject in subjects:  # rows in the tables, analysed; code and plans that have been used
            await post(f"{subject.url}/task", subject.noop, 16, 1)
            await subject.sql.execute("VACUUM ANALYZE tasks")
        floors = [await stack.enter_async_context(floor(kind)) for kind in (Floor, FrameworkFloor)]

        for connections in run.dose.connections:
            contenders: list[Subject | Floor] = [*subjects, *(floors if connections == SIXTY_FOUR else ())]
            rounds = run.dose.deciding_rounds if connections == SIXTY_FOUR else run.dose.rounds
            await run.take_turns(contenders, rounds, partial(measure_create, run, connections), _name)
        await run.take_turns(subjects, run.dose.rounds, partial(_read, run), _name)
        for subject in subjects:
            run.add(subject.name, "api_peak", "MiB", peak_mib([subject.api.pid]))


@asynccontextmanager
async def floor(kind: type[Floor]) -> AsyncIterator[Floor]:
    """One that has answered."""
    async with kind("", "", log_level="warning") as started:
        started.launch_api()
        async with connect(started.url) as wire:
            await wire.ask(request("POST", "/task", "Content-Type: application/json", body=Subject.noop.encode()))
        yield started


def _name(one: Subject | Floor) -> str:
    return one.name


async def measure_create(run: Run, connections: int, one: Subject | Floor, number: int) -> None:
    """The same POST to each; a server that does nothing keeps nothing."""
    if isinstance(one, Subject):
        await one.empty()
    pid = one.processes[0].pid
    used = cpu_seconds([pid])
    load = await post(f"{one.url}/task", Subject.noop, connections, run.dose.seconds)
    used = cpu_seconds([pid]) - used
    _note(run, one.name, "create", connections, load, number)
    run.add(one.name, f"create_{connections}_cpu", "µs", 1e6 * used / load.requests, number)


async def _read(run: Run, subject: Subject, number: int) -> None:
    ids = [await subject.make(subject.noop) for _ in range(_READ_IDS)]
    load = await get(f"{subject.url}/task", ids, SIXTY_FOUR, run.dose.seconds)
    _note(run, subject.name, "read", SIXTY_FOUR, load, number)


def _note(run: Run, name: str, verb: str, connections: int, load: Load, number: int) -> None:
    if load.failed > load.requests / 1_000:
        raise RuntimeError(f"{load.failed} of {load.requests} requests failed on {connections} connections")
    run.add(name, f"{verb}s_{connections}", "1/s", load.per_second, number)
    run.add(name, f"{verb}_{connections}_p50", "ms", load.p50_ms, number)
    run.add(name, f"{verb}_{connections}_p99", "ms", load.p99_ms, number)
