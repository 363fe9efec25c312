"""`python -m app.db.migrate`: bring the schema up to date. Run once, before the programs start."""

import sys
import time
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from app.core.config import DatabaseSettings, load
from app.core.errors import SettingsError

WAIT_SECONDS = 60.0
_MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(database_url: str) -> Config:
    """Alembic's configuration for this database."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["database_url"] = database_url
    return config


def migrate(database_url: str, wait_seconds: float = WAIT_SECONDS) -> None:
    """Upgrade to the newest schema, waiting for PostgreSQL to come up. Raises what it met last."""
    give_up = time.monotonic() + wait_seconds
    has_said = False
    while True:
        try:
            command.upgrade(alembic_config(database_url), "head")
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            if time.monotonic() > give_up:
                raise
            if not has_said:
                sys.stderr.write(
                    f"taskmill: waiting up to {wait_seconds:g} s for PostgreSQL (DATABASE_URL) to answer\n"
                )
                has_said = True
            time.sleep(0.3)
        else:
            return


def main() -> int:
    """Migrate; 0 when the schema is up to date, 1 with one line on stderr when not."""
    try:
        migrate(load(DatabaseSettings).database_url)
    except SettingsError as error:
        sys.stderr.write(f"taskmill: {error}\n")
        return 2
    except CommandError as error:
        sys.stderr.write(f"taskmill: the database (DATABASE_URL) was migrated by a newer release: {error}\n")
        return 1
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError) as error:
        sys.stderr.write(f"taskmill: can't migrate the database (DATABASE_URL): {str(error).splitlines()[0]}\n")
        return 1
    sys.stdout.write("taskmill: the database schema is up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
