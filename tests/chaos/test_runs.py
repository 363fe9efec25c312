"""Reading what handlers write while they write it."""

import asyncio
import os
from pathlib import Path

from tests.chaos.runs import read_runs, watching

LINE = b"1000.5 t1 c1 1 start 7\n"


async def test_a_line_counts_once_it_is_whole(tmp_path: Path) -> None:
    """What one write has begun another may end; what was there before the watch began is passed over."""
    path = tmp_path / f"{os.getpid()}.runs"
    path.write_bytes(LINE.replace(b"t1", b"t0"))
    async with watching(tmp_path) as watch:
        with path.open("ab", buffering=0) as file:
            file.write(LINE[:10])
            assert await watch.seen("t1", "start", 0.1) is None
            file.write(LINE[10:])
            run = await watch.seen("t1", "start", 5)
        assert run is not None
        assert (run.at, run.task, run.claim, run.attempt, run.phase, run.pid) == (1000.5, "t1", "c1", 1, "start", 7)
        assert await watch.seen("t0", "start", 0.05) is None
    assert [run.task for run in read_runs(tmp_path)] == ["t0", "t1"]


async def test_the_last_words_of_a_process_that_died_are_heard(tmp_path: Path) -> None:
    """Its file is read to the end once more when it is gone."""
    async with watching(tmp_path) as watch:
        script = f"printf '{LINE.decode()}' > {tmp_path}/$$.runs"
        process = await asyncio.create_subprocess_exec("sh", "-c", script)
        await process.wait()
        assert await watch.seen("t1", "start", 5) is not None


async def test_a_new_process_with_the_number_of_a_dead_one_is_heard(tmp_path: Path) -> None:
    """Within an hour of starts the kernel begins anew: what such a one says stands in the dead one's file."""
    path, processes = tmp_path / "7.runs", tmp_path / "processes"
    path.write_bytes(LINE.replace(b"t1", b"t0"))
    processes.mkdir()
    async with watching(tmp_path, processes) as watch:
        (processes / "7").mkdir()
        with path.open("ab", buffering=0) as file:
            file.write(LINE)
        assert await watch.seen("t1", "start", 5) is not None
