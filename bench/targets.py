"""What Taskmill is to reach, as ratios of one run, and whether it has."""

from collections.abc import Sequence
from statistics import median

from bench.against_peers import CREATES, ENQUEUE, ONE, TWO
from bench.batches import LIKE_FOR_LIKE, LIMIT, MADE_BEFORE
from bench.limits.start import Bare
from bench.peers.catalogue import PEERS
from bench.results import Results
from bench.standing import OPERATIONS, Laden
from bench.taskmill import DEFAULT, SLOTS, US
from bench.verdict import Reached, all_of, decided
from bench.words import around, change, shown

NAIVE = "naive"
_CHANGE = 0.05


def targets(results: Results) -> list[Reached]:
    """One after another."""
    return [
        _creates(results),
        _single_enqueue(results),
        _batches(results),
        _best_peer(results, ONE, f"no-op tasks/s with one consumer ({SLOTS} slots), of the best peer's", 1.25),
        _best_peer(results, TWO, f"no-op tasks/s with two consumers ({SLOTS} slots each), of the best peer's", 1.0),
        _start(results),
        _cancels(results),
        _standing(results, "history", "ended", "tasks that have ended"),
        _standing(results, "delayed", "delayed", "tasks that are due in years"),
        _idle(results),
    ]


def best_peer(results: Results, measure: str) -> str | None:
    """Whose median is the largest."""
    peers = [name for name in results.subjects("peers", measure) if name not in {US, DEFAULT}]
    return max(peers, key=lambda name: results.median("peers", name, measure) or 0, default=None)


def _creates(results: Results) -> Reached:
    target = "creates/s at 64 connections, of the naive implementation's: at least 10"
    ratios = results.ratios("creates", "creates_64", US, NAIVE)
    return _reached(target, around(ratios) if ratios else "", is_met=decided(ratios, lambda ratio: ratio >= 10))


def _single_enqueue(results: Results) -> Reached:
    """Beside each peer's enqueues; who keeps it from being met is named, else who comes nearest."""
    target = "creates/s over HTTP from 64 connections, of any peer's enqueues/s in process by one caller: more than 1"
    found = {name: _ratios_beside(results, name) for name in results.subjects("peers", ENQUEUE)}
    found = {name: found[name] for name in sorted(found, key=lambda name: median(found[name] or [0])) if found[name]}
    verdicts = {name: decided(ratios, lambda ratio: ratio > 1) for name, ratios in found.items()}
    named = [name for name, verdict in verdicts.items() if verdict is not True] or list(found)[:1]
    words = ", ".join(f"{name} {around(found[name])}" for name in named)
    reached = _among_peers(target, words, list(found), is_met=all_of(*verdicts.values()))
    own = results.median("peers", US, ENQUEUE)
    if not found or own is None:
        return reached
    return Reached(target, f"{reached.reached}; Taskmill itself one after another {shown(own)}/s", reached.is_met)


def _ratios_beside(results: Results, peer: str) -> list[float]:
    """Our creates by its enqueues next to them."""
    ours, theirs = (results.values("peers", peer, measure) for measure in (CREATES, ENQUEUE))
    return [one / other for one, other in zip(ours, theirs, strict=False)]


def _batches(results: Results) -> Reached:
    target = "batch creates/s, of PostgreSQL's own `INSERT ... unnest` over as many connections: at least 0.5"
    ratios, made_before, alike = (
        results.ratios("batches", "batch", US, limit) for limit in (LIMIT, MADE_BEFORE, LIKE_FOR_LIKE)
    )
    words = (
        f"{around(ratios)}; of the same with its ids made before the clock starts {around(made_before)}, and with"
        f" `json` and growing ids besides, as Taskmill has them, {around(alike)}"
    )
    return _reached(target, words if ratios else "", is_met=decided(ratios, lambda ratio: ratio >= 0.5))


def _best_peer(results: Results, measure: str, what: str, least: float) -> Reached:
    target = f"{what}: at least {least:g}" if least > 1 else f"{what}: more than 1"
    peer = best_peer(results, measure) or ""
    ratios, of_default = (results.ratios("peers", measure, name, peer) for name in (US, DEFAULT))
    words = f"{peer} {around(ratios)}" + (f", with default settings {around(of_default)}" if of_default else "")
    is_met = decided(ratios, lambda ratio: ratio >= least if least > 1 else ratio > 1)
    return _among_peers(target, words if ratios else "", results.subjects("peers", measure), is_met=is_met)


def _among_peers(target: str, words: str, measured: Sequence[str], *, is_met: bool | None) -> Reached:
    """Missed is missed; met it is only where every peer has been measured."""
    missing = [name for name in PEERS if name not in measured]
    count = f"{len(PEERS) - len(missing)} of {len(PEERS)} measured" + (f", not {', '.join(missing)}" if missing else "")
    return _reached(target, words and f"{words}; {count}", is_met=None if missing and is_met else is_met)


def _start(results: Results) -> Reached:
    """By the stricter one of two ways to look at it."""
    target = "create to start, idle system: p50 under 3 ms, p99 under 10 ms"
    words = (
        f"POST to the handler's first line {_percentiles(results, 'latency', US, 'start')}; from the row to its start,"
        f" as the row says, {_percentiles(results, 'latency', US, 'row_to_start')}; the bare chain, POST to first line,"
        f" {_percentiles(results, 'latency', Bare.name, 'start')}"
    )
    halves, most = (
        [results.values("latency", US, f"{measure}_p{share}") for measure in ("start", "row_to_start")]
        for share in (50, 99)
    )
    is_met = all_of(
        *(decided(values, lambda value: value < 3) for values in halves),
        *(decided(values, lambda value: value < 10) for values in most),
    )
    return _reached(target, words if results.values("latency", US, "start_p50") else "", is_met=is_met)


def _cancels(results: Results) -> Reached:
    target = "cancel of a running task, until its handler has stopped: p99 under 100 ms"
    most = results.values("cancels", US, "cancel_stopped_p99")
    words = _percentiles(results, "cancels", US, "cancel_stopped")
    return _reached(target, words if most else "", is_met=decided(most, lambda value: value < 100))


def _percentiles(results: Results, part: str, subject: str, measure: str) -> str:
    half, most = (results.values(part, subject, f"{measure}_p{share}") for share in (50, 99))
    return f"p50 {around(half)}, p99 {around(most)} ms" if half and most else "not measured"


def _standing(results: Results, part: str, prefix: str, what: str) -> Reached:
    """By the rates; faster is not worse."""
    rows = results.median(part, US, f"{prefix}_rows")
    target = f"{rows:,.0f} {what}" if rows else what
    target += " change the rates of creates, claims and reads by at most 5 %"
    found = {one: results.ratios(part, f"{prefix}_{one}", Laden.name, US) for one in OPERATIONS}
    if not all(found.values()):
        return _reached(target, "", is_met=None)
    words = ", ".join(f"{operation} {change(ratios)}" for operation, ratios in found.items())
    return _reached(target, words, is_met=all_of(*(decided(ratios, _is_small) for ratios in found.values())))


def _is_small(ratio: float) -> bool:
    return ratio >= 1 - _CHANGE


def _idle(results: Results) -> Reached:
    target = "idle: at most 3 statements/s of a consumer, under 1 % of a core for each process"
    statements = results.values("idle", US, "idle_statements_consumer")
    consumer, api = (results.values("idle", US, f"idle_cpu_{role}") for role in ("consumer", "api"))
    if not (statements and consumer and api):
        return _reached(target, "", is_met=None)
    words = f"{around(statements)} statements/s; consumer {around(consumer)} %, API {around(api)} %"
    is_met = all_of(
        decided(statements, lambda value: value <= 3),
        *(decided(used, lambda share: share < 1) for used in (consumer, api)),
    )
    return _reached(target, words, is_met=is_met)


def _reached(target: str, words: str, *, is_met: bool | None) -> Reached:
    """No words: not measured."""
    return Reached(target, words or "not measured", is_met if words else None)
