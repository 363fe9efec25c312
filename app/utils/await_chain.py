"""Where a suspended task stands."""

import asyncio
from typing import Any


def await_chain(task: "asyncio.Task[Any]") -> str:
    """The lines at which it and what it awaits are suspended, outermost first. `Task.print_stack` shows only one."""
    lines = []
    coroutine: Any = task.get_coro()
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        coroutine = coroutine.cr_await
    return "\n".join(lines)
