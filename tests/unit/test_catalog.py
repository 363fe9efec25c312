"""Kinds that only Taskmill itself makes: they run, but nobody may ask for them."""

import pytest

from app.core.config import Settings
from app.core.errors import SettingsError, UnknownKindError
from app.handlers import Catalog


def _load(**others: str) -> Catalog:
    values = {
        "database_url": "postgresql://h/d",
        "redis_url": "redis://h",
        "handler_modules": "tests.handlers.internal",
    }
    return Catalog.load(Settings.model_validate(values | others))


def test_an_internal_kind_is_run_but_not_offered() -> None:
    """Consumers find its handler; descriptions leave it out."""
    catalog = _load()
    assert catalog.handler("hidden").is_internal
    assert "hidden" not in catalog.kinds
    assert "simulate" in catalog.kinds


def test_an_internal_kind_can_not_be_asked_for() -> None:
    """Tasks, members, children and schedules all are checked by this."""
    with pytest.raises(UnknownKindError, match="can't be asked for"):
        _load().check("hidden", "{}")


def test_no_answer_names_an_internal_kind_as_one_that_there_is() -> None:
    """It would be of no use."""
    with pytest.raises(UnknownKindError) as caught:
        _load().check("hiden", "{}")
    assert "simulate" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_an_internal_kind_is_no_default() -> None:
    """Each task without a kind would be one of it."""
    with pytest.raises(SettingsError, match="DEFAULT_KIND: there is no kind 'hidden'"):
        _load(default_kind="hidden")
