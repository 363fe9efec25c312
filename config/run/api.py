# ruff: noqa: INP001 - a script, not part of a package
"""Become uvicorn, after setting TCP_NODELAY on the listening socket that Supervisor gives us as descriptor 0.

uvicorn takes every `--fd` for a Unix socket, so asyncio and uvloop leave TCP_NODELAY off, and on a kept-alive
connection Nagle's algorithm and delayed ACKs cost each small answer 44 ms (0.1 ms with it). Accepted sockets inherit
the option.

Also raise the soft limit of open files, which is often 1,024, to the hard one: each open stream is a file.
"""

import os
import resource
import socket
import sys

with socket.socket(fileno=os.dup(0)) as listener:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
os.execv(sys.executable, [sys.executable, "-m", "uvicorn", *sys.argv[1:]])  # noqa: S606 - no shell is the point
