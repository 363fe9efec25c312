"""What Taskmill is to reach, as ratios of one run, and whether it has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.against_peers import CREATES, ENQUEUE, ONE, TWO
from bench.batches import LIMIT
from bench.numbers import interval
from bench.peers.catalogue import PEERS
from bench.results import Results
from bench.standing import Laden
from bench.words import change, shown, spread

US = "Taskmill"
NAIVE = "naive"
OPERATIONS = ("creates", "claims", "reads")
_CHANGE = 0.05


@dataclass(frozen=True)
class Reached:
    """What was reached, in words; None where that decides nothing, or was not measured."""

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
            "batch creates/s, of PostgreSQL's own `INSERT ... unnest` over as many connections: at least 0.5",
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
            "latency",
            "row_to_start",
            "the same from the row's creation to its start, as the row says, one task at a time",
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
    peers = [name for name in results.subjects("peers", measure) if name != US]
    return max(peers, key=lambda name: results.median("peers", name, measure) or 0, default=None)


def _ratio(target: str, ratios: Sequence[float], meets: Callable[[float], bool]) -> Reached:
    if not ratios:
        return Reached(target, "not measured", None)
    return Reached(target, spread(ratios), meets(median(ratios)))


def _single_enqueue(results: Results) -> Reached:
    """Of each peer the creates right before and after its enqueue; the peer that comes nearest to them counts."""
    target = "the same over HTTP, of any peer's enqueue in process, one by one: more than 1"
    ratios = {name: _ratios_beside(results, name) for name in results.subjects("peers", ENQUEUE)}
    ratios = {name: found for name, found in ratios.items() if found}
    if not ratios:
        return Reached(target, "not measured", None)
    nearest = min(ratios, key=lambda name: median(ratios[name]))
    return _among_peers(target, ratios[nearest], nearest, list(ratios), is_met=median(ratios[nearest]) > 1)


def _ratios_beside(results: Results, peer: str) -> list[float]:
    ours, theirs = (results.values("peers", peer, measure) for measure in (CREATES, ENQUEUE))
    return [one / other for one, other in zip(ours, theirs, strict=False)]


def _best_peer(results: Results, measure: str, what: str, least: float) -> Reached:
    target = f"{what}: at least {least:g}" if least > 1 else f"{what}: more than 1"
    peer = best_peer(results, measure)
    ratios = results.ratios("peers", measure, US, peer) if peer else []
    if peer is None or not ratios:
        return Reached(target, "not measured", None)
    is_met = median(ratios) >= least if least > 1 else median(ratios) > 1
    return _among_peers(target, ratios, peer, results.subjects("peers", measure), is_met=is_met)


def _among_peers(target: str, ratios: Sequence[float], peer: str, measured: Sequence[str], *, is_met: bool) -> Reached:
    """Missed is missed; met it is only where every peer has been measured."""
    missing = [name for name in PEERS if name not in measured]
    words = f"{spread(ratios)} ({peer}; {len(PEERS) - len(missing)} of {len(PEERS)} measured"
    words += f", not {', '.join(missing)})" if missing else ")"
    return Reached(target, words, None if missing and is_met else is_met)


def _below(results: Results, part: str, measure: str, target: str, p50: float | None, p99: float) -> Reached:
    half, most = (results.median(part, US, f"{measure}_p{share}") for share in (50, 99))
    if half is None or most is None:
        return Reached(target, "not measured", None)
    return Reached(target, f"p50 {shown(half)} ms, p99 {shown(most)} ms", (p50 is None or half < p50) and most < p99)


def _standing(results: Results, part: str, prefix: str, what: str) -> Reached:
    """By the rates: where the interval of each is above the limit, or that of one below; faster is not worse."""
    rows = results.median(part, US, f"{prefix}_rows")
    target = f"{rows:,.0f} {what}" if rows else what
    target += " change creates, claims and reads by at most 5 %"
    found = {one: results.ratios(part, f"{prefix}_{one}", Laden.name, US) for one in OPERATIONS}
    if not all(found.values()):
        return Reached(target, "not measured", None)
    words = ", ".join(f"{operation} {change(ratios)}" for operation, ratios in found.items())
    intervals = [interval(ratios) for ratios in found.values()]
    if any(most < 1 - _CHANGE for _, most in intervals):
        return Reached(target, words, is_met=False)
    return Reached(target, words, True if all(least >= 1 - _CHANGE for least, _ in intervals) else None)


def _idle(results: Results) -> Reached:
    target = "idle: at most 3 statements/s of a consumer, under 1 % of a core for each process"
    statements = results.median("idle", US, "idle_statements_consumer")
    consumer, api = (results.median("idle", US, f"idle_cpu_{role}") for role in ("consumer", "api"))
    if statements is None or consumer is None or api is None:
        return Reached(target, "not measured", None)
    words = f"{statements:.1f} statements/s; consumer {consumer:.2f} %, API {api:.2f} %"
    return Reached(target, words, statements <= 3 and max(consumer, api) < 1)
