"""The README says what is so."""

import re
from pathlib import Path

from pydantic_settings import BaseSettings

from app.core.config import Settings
from app.handlers import HANDLERS

MODELS: list[type[BaseSettings]] = [Settings, *(handler.options for handler in HANDLERS)]
README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_table_of_settings_is_complete() -> None:
    """Each variable with its default and meaning, in the order of the code; none that is not there."""
    table = README.partition("<!-- settings")[2].partition("<!-- end of settings -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", table, re.MULTILINE)
    expected = [
        (
            name.upper(),
            "(required)" if field.is_required() else f"`{field.default}`" if str(field.default) else "(none)",
            field.description,
        )
        for model in MODELS
        for name, field in model.model_fields.items()
    ]
    assert rows == expected


def test_what_the_layout_names_exists() -> None:
    """Files and folders of the layout."""
    layout = README.partition("## Layout")[2].partition("```")[2].partition("```")[0]
    folder = Path(__file__).parents[2]
    for indent, name in re.findall(r"^( *)([\w./]+)", layout, re.MULTILINE):
        path = folder / ("app" if indent else "") / name
        assert path.exists(), path
