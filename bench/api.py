"""An API process as it is in production: nothing that it is or holds comes from a fork."""

from tests.support.processes import Service


class Api(Service):
    """Its processes are started by the interpreter."""

    is_forked = False
