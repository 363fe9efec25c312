"""A payload owns its kind, and its errors say where and what, but not the value."""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from app.core.errors import InvalidPayloadError
from app.handler_api.payload import Payload
from app.handlers.simulate.payload import Simulate

SECRET = "S3CRET"


class Address(Payload, kind="address"):
    """Somewhere."""

    street: Annotated[str, Field(max_length=10)]
    number: int
    floor: Literal["ground", "upper"] = "ground"


class Letter(Payload, kind="letter"):
    """Something to send there."""

    to: list[Address]
    urgent: bool = False


def test_a_payload_owns_its_kind() -> None:
    """The kind is said in the class statement, and each class has its own."""
    assert (Address.kind, Letter.kind) == ("address", "letter")


def test_the_kind_is_no_field() -> None:
    """Content can't name another."""
    with pytest.raises(InvalidPayloadError) as caught:
        Address.parse('{"street": "Elm", "number": 1, "kind": "letter"}')
    assert [pointer for pointer, _ in caught.value.problems] == ["/kind"]


@pytest.mark.parametrize("kind", ["", "two words", "dash-ed", "1st", "a.b", "a/b"])
def test_a_kind_is_an_identifier(kind: str) -> None:
    """It stands in folders, settings, logs and metrics."""
    with pytest.raises(ValueError, match="identifier"):
        type("Odd", (Payload,), {}, kind=kind)


def test_a_payload_without_a_kind_is_no_class() -> None:
    """To leave it out is a mistake that Python reports."""
    with pytest.raises(TypeError, match="kind"):
        type("Kindless", (Payload,), {})


def test_content_becomes_the_payload() -> None:
    """Typed, nested, with defaults, and frozen."""
    letter = Letter.parse('{"to": [{"street": "Elm", "number": 7}]}')
    assert letter.to[0].number == 7
    assert letter.to[0].floor == "ground"
    with pytest.raises(ValidationError, match="frozen"):
        letter.urgent = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "pointers"),
    [
        ({"to": [{"street": SECRET, "number": SECRET}]}, ["/to/0/number"]),
        ({"to": [{"street": SECRET, "number": "1"}]}, ["/to/0/number"]),
        ({"to": [{"street": SECRET, "number": 1.0}]}, ["/to/0/number"]),
        ({"to": [{"street": SECRET, "number": True}]}, ["/to/0/number"]),
        ({"to": [{"street": SECRET * 10, "number": 1}]}, ["/to/0/street"]),
        ({"to": [{"street": "Elm", "number": 1, "floor": SECRET}]}, ["/to/0/floor"]),
        ({"to": [{"street": "Elm", "number": 1, "a/b": SECRET}]}, ["/to/0/a~1b"]),
        ({"to": [], "urgent": SECRET}, ["/urgent"]),
        ({"to": SECRET, "urgent": 1}, ["/to", "/urgent"]),
        ({"to": [SECRET, {"number": 1}]}, ["/to/0", "/to/1/street"]),
        ({}, ["/to"]),
        ([SECRET], [""]),
        (SECRET, [""]),
        (None, [""]),
    ],
)
def test_an_error_names_the_place_but_not_the_value(content: Any, pointers: list[str]) -> None:
    """In its problems as in its text, which goes into logs."""
    with pytest.raises(InvalidPayloadError) as caught:
        Letter.parse(json.dumps(content))
    assert [pointer for pointer, _ in caught.value.problems] == pointers
    assert all(detail for _, detail in caught.value.problems)
    assert all((pointer or "(content)") in str(caught.value) for pointer in pointers)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", ["", "{", "NaN1", '{"street": "S3CRET'])
def test_content_that_is_not_json_is_an_invalid_payload(content: str) -> None:
    """Nothing but InvalidPayloadError comes out of a row, whatever is in it."""
    with pytest.raises(InvalidPayloadError) as caught:
        Address.parse(content)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", ["null", "1", '"x"', "[]", "[1]", "{}", '{"other": 1}', "true"])
def test_simulate_takes_any_content(content: str) -> None:
    """Only an object can say how long to sleep."""
    assert Simulate.parse(content).simulate_seconds is None


@pytest.mark.parametrize("seconds", [0, 0.5, 1, 86_400])
def test_simulate_takes_seconds(seconds: float) -> None:
    """Beside whatever else the object has."""
    assert Simulate.parse(json.dumps({"simulate_seconds": seconds, "x": 1})).simulate_seconds == seconds


@pytest.mark.parametrize("seconds", ["-1", "-0.001", "86400.5", "1e999", "NaN", "Infinity", "true", '"1"', "[]", "{}"])
def test_simulate_refuses_what_is_no_time_to_sleep(seconds: str) -> None:
    """Strictly: neither words nor booleans are numbers."""
    with pytest.raises(InvalidPayloadError) as caught:
        Simulate.parse(f'{{"simulate_seconds": {seconds}}}')
    assert [pointer for pointer, _ in caught.value.problems] == ["/simulate_seconds"]
