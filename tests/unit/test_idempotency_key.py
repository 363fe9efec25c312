"""What a key comes to: for whom, where, and with what body."""

from starlette.types import Scope

from app.api.caller import CALLER
from app.api.idempotency_key import idempotency_key, sent_key
from app.core.caller import Caller, Role
from app.core.idempotency import IdempotencyKey


def scope(key: bytes = b"k", path: str = "/task", name: str = "") -> Scope:
    """Of a request with a key."""
    headers = [(b"content-type", b"application/json"), (b"idempotency-key", key)]
    return {"path": path, "headers": headers, CALLER: Caller(name, Role.WRITE, None)}


def test_a_key_is_of_one_caller_and_one_path() -> None:
    """Neither another caller nor another path meets it, however the parts are cut."""
    keys = [
        idempotency_key(each, b"1")
        for each in (
            scope(),
            scope(b"l"),
            scope(path="/group"),
            scope(name="a"),
            scope(name="b"),
            scope(b"/task", path="k"),
            scope(b"a", path="b", name="c"),
            scope(b"b", path="a", name="c"),
        )
    ]
    assert len({key.key for key in keys if key is not None}) == 8
    assert idempotency_key(scope(), b"1") == keys[0]


def test_another_body_is_another_request() -> None:
    """With the same key."""
    one, other = idempotency_key(scope(), b"1"), idempotency_key(scope(), b"2")
    assert isinstance(one, IdempotencyKey)
    assert isinstance(other, IdempotencyKey)
    assert one.key == other.key
    assert one.fingerprint != other.fingerprint


def test_quotes_and_escapes_are_undone() -> None:
    """As structured fields have them."""
    assert sent_key(scope(b'"a\\"b\\\\c"')) == b'a"b\\c'
    assert sent_key(scope(b"a\\b")) == b"a\\b"
    assert sent_key({"headers": []}) is None
