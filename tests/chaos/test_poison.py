"""Which innocents count as lost with their poison task."""

from uuid import uuid4

from tests.chaos.audit import install
from tests.chaos.faults.poison import _lost_with_it, _Round
from tests.support.types import Connection

_LOST = """
status = 'pending', lost_count = lost_count + 1, history = coalesce(history, '[]') || '[{"code": "consumer_lost"}]'
"""


async def _lose(sql: Connection, *ids: str) -> None:
    """With one consumer that ran them all."""
    claim = "status = 'processing', claim_id = gen_random_uuid(), consumer_id = $2"
    await sql.execute(f"UPDATE tasks SET {claim} WHERE id = ANY($1::uuid[])", ids, str(uuid4()))
    await sql.execute(f"UPDATE tasks SET {_LOST} WHERE id = ANY($1::uuid[])", ids)


async def test_only_its_own_innocents_count(sql: Connection) -> None:
    """Each once, and not those of a consumer that may have died of another poison."""
    await install(sql)
    one, other = (_Round(str(uuid4()), [str(uuid4()) for _ in range(4)]) for _ in range(2))
    insert = "INSERT INTO tasks (id, kind, content) SELECT unnest($1::uuid[]), 'chaos_noop', '{}'"
    await sql.execute(insert, [*one.ids, *other.ids])
    await _lose(sql, one.poison, *one.innocents[:2], other.innocents[0])
    await _lose(sql, one.poison, *one.innocents[1:3])
    await _lose(sql, one.poison, other.poison, one.innocents[3], other.innocents[1])
    await _lose(sql, other.innocents[2])
    assert await _lost_with_it(sql, [one, other]) == [3, 0]
