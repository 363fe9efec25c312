"""What an object says of itself."""


def in_words(value: object) -> str:
    """`str(value)`, also where a stranger's `__str__` fails."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever it was, it said nothing
        return "(it can't be put into words)"
