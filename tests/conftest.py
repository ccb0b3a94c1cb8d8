"""What holds for all tests: none of them touches the files and sockets of who runs them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_directories(tmp_path_factory, monkeypatch):
    """Where a daemon keeps its rooms, and its socket, if nobody says."""
    places = tmp_path_factory.mktemp("places")
    for variable in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        directory = places / variable.lower()
        directory.mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(directory))
    return places
