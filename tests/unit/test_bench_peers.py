"""The peers of the benchmark can be installed from what is written down, and nothing else is."""

import re

import pytest

from bench.peers.catalogue import PEERS
from bench.peers.venvs import REQUIREMENTS

MODULES = sorted({spec.module for spec in PEERS.values()})


@pytest.mark.parametrize("module", MODULES)
def test_requirements_are_pinned_with_hashes(module: str) -> None:
    """Each has a version and hashes, and there is no address."""
    text = (REQUIREMENTS / f"{module}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==\S+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+", line), line
    assert "://" not in text


@pytest.mark.parametrize("module", MODULES)
def test_every_peer_has_its_script_and_its_requirements(module: str) -> None:
    """By the same name."""
    assert (REQUIREMENTS.parent / f"{module}.py").exists()
    assert (REQUIREMENTS / f"{module}.in").exists()
