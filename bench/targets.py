"""What Taskmill is to reach, as ratios of one run, and whether it has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.against_peers import ONE, TWO
from bench.batches import LIMIT
from bench.results import Results
from bench.standing import Laden
from bench.words import percent, shown, spread

US = "Taskmill"
NAIVE = "naive"
OPERATIONS = ("creates", "claims", "reads")


@dataclass(frozen=True)
class Reached:
    """What was reached, in words; None where it was not measured."""

    target: str
    reached: str
    is_met: bool | None


def targets(results: Results) -> list[Reached]:
    """One after another."""
    return [
        _ratio(
            "creates/s at 64 connections, of the naive implementation's: at least 10",
            results.ratios("creates", "creates_64", US, NAIVE),
            lambda ratio: ratio >= 10,
        ),
        _single_enqueue(results),
        _ratio(
            "batch creates/s, of PostgreSQL's own `INSERT ... unnest`: at least 0.5",
            results.ratios("batches", "batch", US, LIMIT),
            lambda ratio: ratio >= 0.5,
        ),
        _best_peer(results, ONE, "no-op tasks/s with one consumer, of the best peer's", 1.25),
        _best_peer(results, TWO, "no-op tasks/s with two consumers, of the best peer's", 1.0),
        _below(
            results,
            "latency",
            "start",
            "POST to the handler's start, idle system: p50 under 3 ms, p99 under 10 ms",
            3,
            10,
        ),
        _below(
            results,
            "cancels",
            "cancel_stopped",
            "cancel of a running task, until its handler has stopped: p99 under 100 ms",
            None,
            100,
        ),
        _standing(results, "history", "ended", "tasks that have ended"),
        _standing(results, "delayed", "delayed", "tasks that are due in years"),
        _idle(results),
    ]


def best_peer(results: Results, measure: str) -> str | None:
    """Whose median is the largest."""
    peers = [name for name in results.subjects("peers", measure) if name not in {US, NAIVE}]
    return max(peers, key=lambda name: results.median("peers", name, measure) or 0, default=None)


def _ratio(target: str, ratios: Sequence[float], meets: Callable[[float], bool]) -> Reached:
    if not ratios:
        return Reached(target, "not measured", None)
    return Reached(target, spread(ratios), meets(median(ratios)))


def _single_enqueue(results: Results) -> Reached:
    target = "the same over HTTP, of the fastest peer's enqueue in process, one by one: more than 1"
    measure = "enqueue one by one"
    peer, ours = best_peer(results, measure), results.median("creates", US, "creates_64")
    theirs = results.median("peers", peer, measure) if peer else None
    if ours is None or not theirs:
        return Reached(target, "not measured", None)
    return Reached(target, f"{ours / theirs:.2f} ({peer})", ours > theirs)


def _best_peer(results: Results, measure: str, what: str, least: float) -> Reached:
    target = f"{what}: at least {least:g}" if least > 1 else f"{what}: more than 1"
    peer = best_peer(results, measure)
    ratios = results.ratios("peers", measure, US, peer) if peer else []
    if not ratios:
        return Reached(target, "not measured", None)
    is_met = median(ratios) >= least if least > 1 else median(ratios) > 1
    return Reached(target, f"{spread(ratios)} ({peer})", is_met)


def _below(results: Results, part: str, measure: str, target: str, p50: float | None, p99: float) -> Reached:
    half, most = (results.median(part, US, f"{measure}_p{share}") for share in (50, 99))
    if half is None or most is None:
        return Reached(target, "not measured", None)
    return Reached(target, f"p50 {shown(half)} ms, p99 {shown(most)} ms", (p50 is None or half < p50) and most < p99)


def _standing(results: Results, part: str, prefix: str, what: str) -> Reached:
    """By the rates, each the median of all pairs; that it got faster is no change for the worse."""
    rows = results.median(part, US, f"{prefix}_rows")
    target = f"{rows:,.0f} {what}" if rows else what
    target += " change creates, claims and reads by at most 5 %"
    changes = {}
    for operation in OPERATIONS:
        if ratios := results.ratios(part, f"{prefix}_{operation}", Laden.name, US):
            changes[operation] = median(ratios) - 1
    if len(changes) < len(OPERATIONS):
        return Reached(target, "not measured", None)
    words = ", ".join(f"{operation} {percent(change)}" for operation, change in changes.items())
    return Reached(target, words, min(changes.values()) >= -0.05)


def _idle(results: Results) -> Reached:
    target = "idle: at most 3 statements/s of a consumer, under 1 % of a core for each process"
    statements = results.median("idle", US, "idle_statements_consumer")
    consumer, api = (results.median("idle", US, f"idle_cpu_{role}") for role in ("consumer", "api"))
    if statements is None or consumer is None or api is None:
        return Reached(target, "not measured", None)
    words = f"{statements:.1f} statements/s; consumer {consumer:.2f} %, API {api:.2f} %"
    return Reached(target, words, statements <= 3 and max(consumer, api) < 1)
