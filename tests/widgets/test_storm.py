"""Random choices in real windows leave nothing behind, and nothing raises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from places import FIXTURES


def test_some_random_choices_leave_nothing_behind(tmp_path: Path) -> None:
    # The same choices each time; many more are made by hand, see the script.
    script = FIXTURES / "storm.py"
    own = {"XDG_CONFIG_HOME": str(tmp_path), "NAPARI_CONFIG": str(tmp_path / "settings.yaml")}
    ended = subprocess.run(
        [sys.executable, str(script), "--steps", "60", "--seed", "4"],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **own},
    )  # fmt: skip
    assert ended.returncode == 0, f"{ended.stdout[-4000:]}\n{ended.stderr[-2000:]}"
    assert "60 choices, seed 4: 0 faults" in ended.stdout
