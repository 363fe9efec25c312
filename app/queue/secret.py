"""What all processes know and nobody else."""

from app.db.engine import Database

_READ = "SELECT value FROM secrets WHERE name = $1"


async def read_secret(database: Database, name: str) -> bytes:
    """The secret of this name, which a migration has made."""
    (row,) = await database.fetch(_READ, name)
    secret: bytes = row[0]
    return secret
