"""The bare chain as processes under test: bench/limits/bare.py."""

import asyncpg

from bench.limits.bare import TABLE
from bench.subject import Subject
from tests.support.processes import Process


class Bare(Subject):
    """Starts tasks as soon as this machine can, and does nothing else for them."""

    name = "bare"
    app = ("bench.limits.bare:app",)
    live = "SELECT EXISTS (SELECT FROM tasks WHERE status <> 'completed')"

    @staticmethod
    async def prepare(database_url: str) -> None:
        """Make its table."""
        sql = await asyncpg.connect(database_url)
        await sql.execute(TABLE)
        await sql.close()

    def launch_consumer(self, **settings: object) -> Process:
        """Start a consumer process, and wait for nothing."""
        _ = settings
        return self._start(["-m", "bench.limits.bare"])

    async def _serve(self, consumers: list[Process]) -> None:
        """It says nothing, so: until it has done a task."""
        _ = consumers
        await self.make('{"content": {"sent": 0}}')
        await self.has_ended()
