"""What a group shows of its members."""

import json

from tests.integration.groups.conftest import Bench
from tests.support.types import Connection


async def test_progress_is_summed_and_the_first_errors_are_told(bench: Bench, sql: Connection) -> None:
    """Over members that have reported any; a handler's word that is no number is passed over."""
    group = await bench.group(20)
    assert (await bench.read(group)).done is None
    said = ['{"done": 1, "total": 10}', '{"done": 2.5, "total": 10}', '{"done": "much", "total": 10}', "7"]
    for task, progress in zip(group.members, said, strict=False):
        await sql.execute("UPDATE tasks SET progress = $2::text::json WHERE id = $1", task.id, progress)
    found = await bench.read(group)
    assert (found.done, found.done_of) == ("3.5", "30")
    await sql.execute(
        """UPDATE tasks SET progress = '{"done": 0.1, "total": null}' WHERE id = $1""", group.members[9].id
    )
    found = await bench.read(group)
    assert (found.done, found.done_of) == ("3.6", None)
    claims = {claim.id: claim for claim in await bench.claim(group)}
    in_time = [task.id for task in group.members[::-1]]
    for task_id in in_time[:12]:
        await bench.fail([claims[task_id]], None)
    errors = json.loads((await bench.read(group)).errors)
    assert [error["task_id"] for error in errors] == [str(task_id) for task_id in in_time[:10]]
    assert errors[0].keys() == {"task_id", "code", "message", "attempt", "at"}
