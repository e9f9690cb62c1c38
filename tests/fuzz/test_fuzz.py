"""Files with random faults: whatever is in them, they are read, or one sentence says why not.

``make fuzz`` draws 10,000 of each kind; the tests draw a few. What is being read lies in the folder
that `FOLDER` names, so that a file that ends the process can be looked at.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.edits import byte_edits, copied, edit_file
from fuzz.kinds import KINDS
from napari_neuroscope.engine.errors import NeuroscopeError

EXAMPLES = int(os.environ.get("NEUROSCOPE_FUZZ", "0"))
FOLDER = os.environ.get("NEUROSCOPE_FUZZ_FOLDER", "")
_SECONDS = 20
_SLOW = {"torchscript", "keras", "keras_h5", "package_folder", "package_zip", "torch_export"}


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    """End a reading that takes too long, where the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_: Any) -> None:
        raise TimeoutError(f"read for more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good file of each kind, made when it is first asked for."""

    class Made(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            self[kind] = KINDS[kind].make(tmp_path_factory.mktemp(kind))
            return self[kind]

    return Made()


@pytest.mark.timeout(0 if EXAMPLES else 300)
@pytest.mark.parametrize("kind", KINDS)
def test_a_faulty_file_is_read_or_told_in_a_sentence(
    kind: str, good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    source, read = good[kind], KINDS[kind].read
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read(source) if kind not in ("weights", "legacy_weights", "safetensors", "pickled_module",
                                     "torch_export") else None  # fmt: skip
    folder = Path(FOLDER) / kind if FOLDER else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    drawn = EXAMPLES or (8 if kind in _SLOW else 40)

    @settings(
        max_examples=drawn,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        # The first fault is told as it is: files are looked at, not edits.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(edits=byte_edits, which=st.floats(0, 1, exclude_max=True))
    def reads_or_tells(edits: list[Any], which: float) -> None:
        path = copied(source, folder / source.name)
        edit_file(path, edits, which)
        with warnings.catch_warnings(), _within(_SECONDS):
            warnings.simplefilter("ignore")
            try:
                read(path)
            except NeuroscopeError as error:
                said = str(error)
                assert said.strip(), "an error that says nothing"
                assert "\n" not in said

    reads_or_tells()
