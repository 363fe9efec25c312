"""The naive implementation as processes under test."""

from bench.subject import PROCESSING, Subject
from tests.support.processes import Process


class Naive(Subject):
    """The same contract as most would write it first: bench/naive."""

    name = "naive"
    app = ("bench.naive.app:app",)
    live = f"SELECT EXISTS (SELECT FROM tasks WHERE status = 'pending') OR {PROCESSING}"
    started = "updated_at"

    @staticmethod
    async def prepare(_: str) -> None:
        """Its API makes its table."""

    @staticmethod
    def sleeper(seconds: float) -> str:
        """The body of a task that runs for so long."""
        return f'{{"content": {{"sleep": {seconds}}}}}'

    def launch_consumer(self, **settings: object) -> Process:
        """Start a consumer process, and wait for nothing."""
        env = {name.upper(): str(value) for name, value in settings.items()}
        return self._start(["-m", "bench.naive.consumer"], env=env)

    async def _serve(self, consumers: list[Process]) -> None:
        """It says nothing, so: until it has done a task."""
        _ = consumers
        await self.make(self.noop)
        await self.has_ended()
