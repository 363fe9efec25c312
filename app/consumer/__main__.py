"""`python -m app.consumer [--quarantine PID --consumer-id ID]`: one consumer process."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn
from uuid import UUID

import uvloop

from app.consumer.consumer import Consumer
from app.consumer.drain import StopRequest
from app.consumer.forks import Server, start_fork_server
from app.consumer.metrics_port import serve_metrics
from app.core.config import Settings, load
from app.core.declared import load_declared
from app.core.errors import ConsumerDeclaredDeadError, SettingsError
from app.core.events import Emit, to_all
from app.core.logging import log_event, set_up_logging
from app.core.metrics import Metrics
from app.core.schedule import NewSchedule
from app.handlers import Catalog
from app.utils.linux import name_process

_LOAD_SECONDS = 60  # whoever starts a quarantine keeps others from being started for as long as it loads
_LOOK_SECONDS = 0.5
_LONGEST_ALONE_SECONDS = 30.0


def main() -> int:
    """Run until SIGTERM or SIGINT; a second one stops at once. The exit code: 0 in order, 1 restart me, 2 settings."""
    parser = argparse.ArgumentParser(prog="python -m app.consumer", description=__doc__)
    parser.add_argument(
        "--quarantine", type=int, metavar="PID", help="run suspects one by one; end soon after the parent, which is PID"
    )
    parser.add_argument("--consumer-id", type=UUID, metavar="ID", help="that has been registered for it")
    asked = parser.parse_args()
    parent: int | None = asked.quarantine
    server = start_fork_server()
    if parent is not None:
        name_process("taskmill-alone")
        signal.alarm(_LOAD_SECONDS)
    try:
        settings = load(Settings)
        catalog = Catalog.load(settings)
        declared = load_declared(settings, catalog.check)
        metrics = Metrics()
        if settings.metrics_port and parent is None:
            serve_metrics(settings, metrics)
    except SettingsError as error:
        sys.stderr.write(f"taskmill: {error}\n")
        return 2
    signal.alarm(0)
    set_up_logging(settings)
    gc.freeze()  # what is loaded stays; collections look only at what tasks make
    gc.set_threshold(50_000, 20, 20)
    emit = to_all(log_event, metrics.count)
    uvloop.run(_run(settings, catalog, declared, emit, server, parent=parent, consumer_id=asked.consumer_id))
    raise AssertionError("unreachable: _run ends the process")


async def _run(
    settings: Settings,
    catalog: Catalog,
    declared: Sequence[NewSchedule],
    emit: Emit,
    server: Server,
    *,
    parent: int | None,
    consumer_id: UUID | None,
) -> NoReturn:
    stop = StopRequest()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop)
    alone = None if parent is None else asyncio.create_task(_stop_without(parent, settings.drain_seconds, stop))
    code = 1
    try:
        of_settings = None if alone else declared
        consumer = Consumer(
            settings, catalog, emit, server, is_quarantine=bool(alone), consumer_id=consumer_id, declared=of_settings
        )
        await consumer.run(stop)
        code = 0
    except ConsumerDeclaredDeadError:
        pass  # said as an event
    except BaseException:
        logging.getLogger("taskmill").exception("consumer ends by an error")
    # At once. Ending the loop would cancel handlers that are still there, wait for those that don't listen, and let
    # them write: what this process has not given back by now is recovered by others.
    logging.shutdown()
    with suppress(OSError):  # of a quarantine whose consumer has died, nobody may read the output any more
        sys.stdout.flush()
    os._exit(code)


async def _stop_without(parent: int, seconds: float, stop: StopRequest) -> None:
    """Stop a quarantine when its parent (a pid) has been gone for so many seconds, and for half a minute at most.

    Not at once: where consumers keep dying, also while this starts, no suspect would ever run otherwise. Nor much
    later: nobody looks after this process any more, and who kills it costs its suspect the last loss.
    """
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(_LOOK_SECONDS)
    await asyncio.sleep(min(seconds, _LONGEST_ALONE_SECONDS))
    stop()


if __name__ == "__main__":
    sys.exit(main())
