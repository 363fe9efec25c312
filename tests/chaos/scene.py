"""What faults are injected into: servers, processes, links between them, and load on it all."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.history import History, Injected
from tests.chaos.lateness import Lateness
from tests.chaos.load import Load
from tests.chaos.processes import Processes
from tests.chaos.servers import ChaosServers

BEAT_SECONDS, LEASE_SECONDS, POLL_SECONDS = 0.5, 2.5, 0.5
SWEEP_SECONDS = POLL_SECONDS * 1.1  # jittered
GRACE_SECONDS = 0.5
DRAIN_SECONDS = 1.5  # shorter than the longest tasks


@dataclass(slots=True)
class Scene:
    """The whole of a running service. Faults leave it as they found it: all servers up, all links whole."""

    servers: ChaosServers  # PostgreSQL and Valkey that crash and come back, and the links to them
    processes: Processes  # APIs and consumers, which are started anew when they end, as Supervisor does
    load: Load  # clients
    history: History
    runs: Path  # folder in which handlers note their runs: CHAOS_FOLDER
    lateness: Lateness  # of this machine, which no fault is to blame for

    @contextmanager
    def injecting(self, fault: str, target: str) -> Iterator[None]:
        """Note in the history that a fault lasts for as long as the block does."""
        begun = time.time()
        try:
            yield
        finally:
            self.history.injected.append(Injected(fault, begun, time.time(), target))
