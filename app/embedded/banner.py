"""What the user reads once everything is up."""

from app.core.config import Settings
from app.embedded.address import local
from app.embedded.folders import Folders


def banner(settings: Settings, folders: Folders, *, embedded: bool) -> str:
    """A few lines: where the service is, what to try, where the data is, how to stop."""
    url = f"http://{local(settings)}"
    api = [
        f"  Taskmill is up   {url}",
        f"  documentation    {url}/docs",
        f"  try              curl -s {url}/task -H 'content-type: application/json' -d '{{\"content\": \"hello\"}}'",
    ]
    without_api = ["  Taskmill is up   no API here (API_PROCESSES is 0)"]
    return "\n".join(
        [
            "",
            *(api if settings.api_processes else without_api),
            f"  data             {folders.data}" if embedded else "  data             where DATABASE_URL says",
            "  stop             Ctrl-C",
            "",
        ]
    )
