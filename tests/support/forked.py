"""What tests have a fork server run: `python -m tests.support.forked exit CODE`, or `sleep FILE ...`.

`sleep FILE [start another] [DESCRIPTOR]`: for a minute, with its pid in FILE; SIGTERM ends that by 5.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Do it."""
    verb, argument, *others = sys.argv[1:]
    if verb == "exit":
        sys.exit(int(argument))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
    note = f"{os.getpid()}\n"
    if "start another" in others:
        note += f"{subprocess.Popen(['sleep', '60']).pid}\n"
    with Path(argument).open("a") as file:
        file.write(note)
    if others and others[-1].isdigit():
        os.write(int(others[-1]), b"here\n")
    time.sleep(60)


if __name__ == "__main__":
    main()
