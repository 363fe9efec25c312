"""What the clients ask for, drawn at random: tasks of mixed kinds, lengths and options."""

import math
from random import Random
from typing import Any

THEN_INDEX = -1
KEYS = 40  # concurrency keys; one task at a time of each
LONGEST_DELAY_SECONDS = 3.0
# Longer than a member lives on whose group is to stop: where nothing is broken, and at any time.
OUTLASTING_SECONDS, OUTWAITING_SECONDS = 6.0, 15.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.005, 2.0
_PRIORITIES = ("high", "low")

# Kinds by how many of 1,000 tasks have them. Children cost a start of a second each time that their consumer dies.
_KINDS = {
    "chaos_noop": 540,
    "chaos_sleep": 260,
    "chaos_flaky": 60,
    "chaos_failing": 40,
    "chaos_steps": 80,
    "chaos_block": 15,
    "chaos_steps_in_child": 4,
    "chaos_block_in_child": 1,
}
_NAMES, _WEIGHTS = list(_KINDS), list(_KINDS.values())


def length(random: Random) -> float:
    """Seconds from 5 ms to 2 s; each decade is as likely as the others."""
    return float(round(_SHORTEST_SECONDS * (_LONGEST_SECONDS / _SHORTEST_SECONDS) ** random.random(), 4))


def new_task(random: Random, marker: str, index: int = 0) -> dict[str, Any]:
    """A task as POST /task takes it. `rows` of its content is how many rows in `effects` it has when completed."""
    kind = random.choices(_NAMES, _WEIGHTS)[0]
    content: dict[str, Any] = {"marker": marker, "index": index}
    task: dict[str, Any] = {"kind": kind, "content": content}
    if kind in {"chaos_steps", "chaos_steps_in_child"}:
        rows, step = random.randint(1, 40), random.randint(1, 10)
        content |= {"rows": rows, "step": step, "seconds": length(random) / math.ceil(rows / step)}  # after each step
    elif kind == "chaos_flaky":
        content["failures"] = random.randint(1, 3)
    elif kind in {"chaos_block", "chaos_block_in_child"}:
        content["seconds"] = length(random) / 10
    elif kind == "chaos_sleep":
        content["seconds"] = length(random)
        if random.random() < 0.1:
            content["seconds"] /= 10  # of one key one after another
            task["concurrency_key"] = f"key-{random.randrange(KEYS)}"
    chance = random.random()
    if chance < 0.1:
        task["priority"] = random.choice(_PRIORITIES)
    elif chance < 0.15:
        task["delay_seconds"] = round(random.random() * LONGEST_DELAY_SECONDS, 3)
    return task


def new_tasks(random: Random, marker: str, count: int) -> list[dict[str, Any]]:
    """Tasks of one call: they share its marker."""
    return [new_task(random, marker, index) for index in range(count)]


def new_group(random: Random, marker: str, count: int) -> dict[str, Any]:
    """A group as POST /group takes it, with a task to follow."""
    then = {"kind": "chaos_then", "content": {"marker": marker, "index": THEN_INDEX}}
    tasks, on_failure = new_tasks(random, marker, count), random.choice(("continue", "cancel_rest"))
    if on_failure == "cancel_rest" and random.random() < 0.5:
        tasks += _never_done(marker, count)
    return {"tasks": tasks, "on_failure": on_failure, "then": then}


def _never_done(marker: str, first: int) -> list[dict[str, Any]]:
    """One member that fails at once, and two that would end, or begin, long after that if they were not canceled."""
    contents = [{"marker": marker, "index": first + number} for number in range(3)]
    return [
        {"kind": "chaos_failing", "content": contents[0], "priority": "high"},
        {"kind": "chaos_sleep", "content": contents[1] | {"seconds": OUTLASTING_SECONDS}},
        {"kind": "chaos_noop", "content": contents[2], "delay_seconds": OUTWAITING_SECONDS},
    ]


def new_schedule(marker: str) -> dict[str, Any]:
    """A schedule as PUT /schedule takes it: each minute, the least that cron knows."""
    return {"cron": "* * * * *", "kind": "chaos_noop", "content": {"marker": marker}, "missed": "run_once"}
