"""`make run`: read the settings, start everything, wait for Ctrl-C, stop everything."""

import argparse
import os
import sys
from pathlib import Path

from dotenv import dotenv_values

from app.core.api_keys import load_keys
from app.core.config import Settings, load
from app.core.declared import load_declared
from app.core.errors import TaskmillError
from app.embedded import postgres, valkey
from app.embedded.console import complain
from app.embedded.errors import StoppedError
from app.embedded.folders import Folders
from app.embedded.launch import Embedded, launch
from app.handlers import Catalog


def main() -> int:
    """Run until a signal comes; 0 after a stop that was asked for, 1 after one line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m app.embedded", description=__doc__)
    parser.add_argument("--env-file", type=Path, help="variables that are not set in the environment come from here")
    arguments = parser.parse_args()
    try:
        _read_env_file(arguments.env_file)
        folders = Folders(Path(os.environ.get("DATA_DIR") or "data").absolute())
        embedded = _choose(folders)
        settings = load(Settings)
        load_declared(settings, Catalog.load(settings).check)
        load_keys(settings.keys_file)
        launch(settings, folders, embedded)
    except StoppedError:
        return 0
    except TaskmillError as error:
        complain(str(error))
        return 1
    return 0


def _read_env_file(path: Path | None) -> None:
    if path is None:
        return
    if not path.is_file():
        complain(f"{path} is not there: the defaults count")
    for name, value in dotenv_values(path).items():
        if value is not None:
            os.environ.setdefault(name, value)


def _choose(folders: Folders) -> Embedded:
    """Which servers are ours to start: those whose address nobody gave. Afterwards both addresses are set."""
    embedded = Embedded(
        postgres=not os.environ.get("DATABASE_URL"),
        valkey=not os.environ.get("REDIS_URL"),
    )
    if embedded.postgres:
        os.environ["DATABASE_URL"] = postgres.url(folders.sockets("postgres"))
    if embedded.valkey:
        os.environ["REDIS_URL"] = valkey.url(folders.sockets("valkey"))
    return embedded


if __name__ == "__main__":
    sys.exit(main())
