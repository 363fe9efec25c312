"""The payload of `bulk`, which app/api/bulk_api.py writes and nobody else."""

from app.handler_api.bulk import Action, TaskFilter, Visible
from app.handler_api.payload import Payload


class Bulk(Payload, kind="bulk"):
    """What to do, to which tasks, and whose tasks there are for the client that asked."""

    action: Action
    filter: TaskFilter
    visible: Visible
    dry_run: bool
