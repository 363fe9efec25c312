"""The tables of docs/performance.md."""

from collections.abc import Callable

from bench.results import Results
from bench.tables.http import batch_table, create_table
from bench.tables.limits import limit_table, share_table
from bench.tables.peers import peer_table, setting_table
from bench.tables.run import run_table, target_table
from bench.tables.standing import standing_table
from bench.tables.work import alone_table, start_table, work_table

TABLES: dict[str, Callable[[Results], str]] = {
    "targets": target_table,
    "share": share_table,
    "run": run_table,
    "creates": create_table,
    "batches": batch_table,
    "work": work_table,
    "peers": peer_table,
    "settings": setting_table,
    "start": start_table,
    "alone": alone_table,
    "standing": standing_table,
    "limits": limit_table,
}
