"""`python -m app.consumer.quarantined --quarantine PID --consumer-id ID`: a consumer for suspects, by the consumer PID.

What a consumer is made of takes a second of CPU to import. One whose starter has died by then is of no use to anybody,
and where consumers keep dying, those would keep the host from starting others: so it ends with its starter from the
first moment on.
"""

import signal
import sys

from app.utils.linux import end_with_parent


def main() -> int:
    """As app.consumer's."""
    end_with_parent(int(sys.argv[2]), signal.SIGTERM)  # which ends it while it starts, and has it drain from then on
    from app.consumer.__main__ import main as run  # noqa: PLC0415 - what takes the time

    return run()


if __name__ == "__main__":
    sys.exit(main())
