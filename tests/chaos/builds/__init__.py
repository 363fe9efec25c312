"""Deliberately weakened builds, to show that the checker finds what it should. Never a switch in app/."""

from app.queue import finish

FENCE = "WHERE tasks.id = mine.id AND tasks.claim_id = mine.claim_id AND (tasks.status = 'processing') IS TRUE"
STATEMENTS = 6  # that finish a task, and the template of their fence


def weaken(fence: str) -> None:
    """Finish by another condition in this process. Fails where the text is not there, lest it does nothing."""
    fenced = {name: text for name, text in vars(finish).items() if isinstance(text, str) and FENCE in text}
    if len(fenced) != STATEMENTS + 1:
        raise RuntimeError(f"the fence stands in {sorted(fenced)}, and not in {STATEMENTS} statements and a template")
    for name, text in fenced.items():
        setattr(finish, name, text.replace(FENCE, fence))
