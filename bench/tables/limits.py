"""What the servers do when nobody thinks, and how near we are to that."""

from dataclasses import dataclass
from statistics import median

from bench.against_peers import ONE, TWO
from bench.batches import LIKE_FOR_LIKE
from bench.floor import Floor
from bench.limits.start import Bare
from bench.results import Results
from bench.taskmill import SLOTS, US
from bench.words import shown, spread, table

Place = tuple[str, str, str]  # part, subject, measure


@dataclass(frozen=True)
class _Share:
    """A figure of ours and the limit of it. What is a time is nearer the smaller it is."""

    figure: str
    ours: Place
    limit: Place
    limit_words: str
    held_by: str
    is_time: bool = False


_DRAIN = "insert, claim and complete 500 tasks, 4 connections"
_SHARES = [
    _Share(
        "creates/s, 64 connections",
        ("creates", US, "creates_64"),
        ("creates", Floor.name, "creates_64"),
        "bare ASGI, which answers and does nothing",
        "one Python process: it checks each body, routes, answers, and speaks to PostgreSQL, whose part of the two"
        " cores the limit does not need",
    ),
    _Share(
        "creates/s, 1 connection",
        ("creates", US, "creates_1"),
        ("limits", "asyncpg", "INSERT from unnest of 1 rows, 1 connection"),
        "INSERT from unnest of 1 row, 1 connection",
        "the same commit; before and after it HTTP and two more changes between processes, with nothing to overlap",
    ),
    _Share(
        "reads/s by id, 64 connections",
        ("creates", US, "reads_64"),
        ("creates", Floor.name, "creates_64"),
        "bare ASGI, which answers and does nothing",
        "one Python process: reads that wait share one SELECT, so that most of it is HTTP and the answers",
    ),
    _Share(
        "batch creates/s, two in flight",
        ("batches", US, "batch"),
        ("batches", LIKE_FOR_LIKE, "batch"),
        "INSERT from unnest of 1,000, `json` and growing ids, two connections",
        "Python that checks each item; a table with more columns, indexes and counters than the limit's",
    ),
    _Share(
        f"no-op tasks/s, one consumer ({SLOTS} slots)",
        ("peers", US, ONE),
        ("limits", "asyncpg", _DRAIN),
        _DRAIN,
        "claim and handlers take turns in one Python process; the limit runs no handlers, but inserts as well",
    ),
    _Share(
        f"no-op tasks/s, two consumers ({SLOTS} slots each)",
        ("peers", US, TWO),
        ("limits", "asyncpg", _DRAIN),
        _DRAIN,
        "the two cores, which two Python processes and their PostgreSQL backends share",
    ),
    _Share(
        "POST to the handler's first line, p50, ms",
        ("latency", US, "start_p50"),
        ("latency", Bare.name, "start_p50"),
        "the bare chain",
        "the same two commits and two changes between processes, with more code between them that nothing has run for"
        " a while: step by step below",
        is_time=True,
    ),
]


def share_table(results: Results) -> str:
    """What the limit of each figure is, and how near it is."""
    head = ["figure", US, "the limit", "", "share", "what holds the figure"]
    return table(head, [_row(results, one) for one in _SHARES], words=(0, 2, 5))


def _row(results: Results, one: _Share) -> list[str]:
    ours, limit = results.values(*one.ours), results.values(*one.limit)
    share = _share(results, one) if ours and limit else "–"
    return [one.figure, spread(ours), one.limit_words, spread(limit), share, one.held_by]


def _share(results: Results, one: _Share) -> str:
    """Pair by pair where both were taken in turns, else of the medians."""
    (part, subject, measure), (limit_part, limit, limit_measure) = one.ours, one.limit
    if (part, measure) == (limit_part, limit_measure):
        first, second = (limit, subject) if one.is_time else (subject, limit)
        return spread(results.ratios(part, measure, first, second))
    return shown(median(results.values(*one.ours)) / median(results.values(*one.limit)))


def limit_table(results: Results) -> str:
    """What the servers do when nobody thinks."""
    part = "limits"
    figures = results.parts[part].figures if part in results.parts else []
    names = dict.fromkeys((one.subject, one.measure, one.unit) for one in figures)
    rows = [
        [subject, measure, f"{spread(results.values(part, subject, measure))} {unit}"]
        for subject, measure, unit in names
    ]
    return table(["", "", "limit"], rows, words=(0, 1))
