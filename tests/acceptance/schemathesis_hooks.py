"""What Schemathesis must know of the service that its description can't say."""

from typing import Any

import schemathesis

from app.core.storable import LARGEST_INTEGER


@schemathesis.hook
def filter_body(_: schemathesis.HookContext, body: Any) -> bool:
    """No integers beyond ±(2^53 - 1): they are refused, but to JSON Schema they are the floats that are taken.

    They have tests of their own in test_bad_input.py.
    """
    stack = [body]
    while stack:
        match stack.pop():
            case int(number) if abs(number) > LARGEST_INTEGER:
                return False
            case dict(children):
                stack.extend(children.values())
            case list(children):
                stack.extend(children)
    return True
