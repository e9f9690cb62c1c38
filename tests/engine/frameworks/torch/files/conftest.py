"""What the tests of files share: nobody trusts anything yet."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_trust(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: folder)
