"""T."""

from pathlib import Path
from bench.results import Results


def write_report(results: Results, folder: Path) -> None:
    """T."""
