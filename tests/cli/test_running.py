"""Ctrl-C ends a command within seconds, whatever it does; what comes in wrong is one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_neuroscope.cli.main import main

# Commands that say “ready” and then go on for ever, each in its own way.
_COMMANDS = {
    # As a pass in C++ does, of which Python's exceptions know nothing.
    "deaf": "lock = threading.Lock(); lock.acquire(); ready(); lock.acquire()",
    "followed": "ready()\nwhile True: refuse_when_stopping()",
    "not followed": "ready()\nwhile True: pass",
}
_SCRIPT = """
import sys, tempfile, threading
from pathlib import Path
from napari_neuroscope.cli import check as cli_check
from napari_neuroscope.cli.main import main
from napari_neuroscope.cli.running import refuse_when_stopping
from napari_neuroscope.engine.files.atomic_write import write_whole

def ready():
    print("ready", flush=True)

def command(part):
    global folder
    folder = tempfile.TemporaryDirectory(dir=sys.argv[1])
    part.write_text("half")
    {work}

cli_check.check = lambda parsed: write_whole(Path(sys.argv[1], "out.csv"), command)
sys.exit(main(["check", "demo:nuclei"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process is interrupted by a signal")
@pytest.mark.parametrize("work", _COMMANDS.values(), ids=_COMMANDS)
def test_control_c_ends_whatever_runs_and_leaves_nothing_behind(work: str, tmp_path: Path) -> None:
    script = _SCRIPT.format(work=work.replace("\n", "\n    "))
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(list(tmp_path.iterdir())) == 2
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        took = time.monotonic() - before
    assert process.returncode == 130
    assert said == "napari-neuroscope: Stopped.\n"
    assert list(tmp_path.iterdir()) == []
    # Two seconds to end by itself and one to tidy; the rest is a busy machine's.
    assert took < 20


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("steps: 3", "needs the form NAME=VALUE"),
        ("steps=[1, 2", "it is no plain YAML"),
        ("steps=!!python/object:os.system {}", "it is no plain YAML"),
        ("when=2020-99-01", "a value that can't be"),
        ("x=" + "[" * 1000, "nested"),
    ],
)
def test_options_that_are_none(option: str, says: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", "demo:nuclei", "--argument", option]) == 1
    told = capsys.readouterr().err
    assert says in told
    assert len(told.splitlines()) == 1


def test_what_nobody_foresaw_is_one_line(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("first\x1b[31m\nsecond")

    monkeypatch.setattr("napari_neuroscope.cli.check.check", fail)
    assert main(["check", "demo:nuclei"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("napari-neuroscope: RuntimeError: first\\x1b[31m. That should not")
    assert len(told.splitlines()) == 1
    monkeypatch.setenv("NAPARI_NEUROSCOPE_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(["check", "demo:nuclei"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/a\xff\x1b[31m.png"
    command = [sys.executable, "-m", "napari_neuroscope.cli"]
    done = subprocess.run(
        [*command, "check", name], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "\\udcff\\x1b[31m" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
