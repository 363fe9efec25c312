"""`python -m tests.support.become REQUEST INPUT OUTPUT ERROR [DESCRIPTOR...]`: what a zygote forks.

It becomes `python -m` of the request's module, with the request's environment and these descriptors; the numbers of the
rest are further arguments.
"""

import json
import os
import runpy
import socket
import sys
from collections.abc import Mapping, Sequence

from app.utils.fork_server import request_fork


def request_process(
    zygote: socket.socket, arguments: Sequence[str], environment: Mapping[str, str], given: Sequence[int]
) -> None:
    """Ask for one; `arguments` are a module and its arguments. It dies with the zygote. Raises OSError."""
    request = json.dumps({"args": arguments, "env": dict(environment)})
    request_fork(zygote, [__name__, request], given, is_bound=True)


def main() -> None:
    """Become it."""
    request, given = json.loads(sys.argv[1]), [int(number) for number in sys.argv[2:]]
    for number, descriptor in enumerate(given[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    module, *_ = sys.argv = [*request["args"], *map(str, given[3:])]
    for imported in (module, f"{module}.__main__"):  # where it is to run, it has not been imported
        if not hasattr(sys.modules.get(imported), "__path__"):
            sys.modules.pop(imported, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
