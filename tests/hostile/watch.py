"""Hostile files: each is built, opened without trust in a process of its own, and watched.

``python -m hostile.watch FOLDER MODULE [CASE ...]`` prints a line of JSON for each case of a module
of cases: what was said, how long it took, how much memory, and all that a file must not do.

A case is a function that takes a folder, writes a file there and returns what opens it. What the
file would run or write is `marker(folder)`, which lies outside of the folder.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Opener = Callable[[], Any]
Outcome = Literal["sentence", "trust", "opens", "either"]
MOST_SECONDS, MOST_MB = 10.0, 500
_KILLED_AFTER = 30.0


@dataclass(frozen=True)
class Case:
    """A hostile file.

    Attributes
    ----------
    build
        Writes it into a folder, and returns what opens it.
    ends
        What must come out: a “sentence” with the file's name, the question for “trust”, a file that
        “opens” rightly, or “either” a sentence or one that opens.
    seconds
        How long it may take.
    """

    build: Callable[[Path], Opener]
    ends: Outcome
    seconds: float


def cases_of(module: Any) -> dict[str, Case]:
    """Return the cases of a module, by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Case)}


def case(
    ends: Outcome = "sentence", *, seconds: float = MOST_SECONDS
) -> Callable[[Callable[[Path], Opener]], Case]:
    """Make a function a case."""
    return lambda build: Case(build, ends, seconds)


def marker(folder: Path) -> Path:
    """Return what a file of a folder would write if it ran."""
    return folder.parent / f"{folder.name}.ran"


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        if not path.is_dir():
            found[str(path)] = (state.st_size, state.st_mtime_ns)
    return found


def _peak_mb() -> int:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


_ALLOWED = ("/usr", "/proc", "/sys", "/etc/ld", "/lib", "/dev/null", "/dev/urandom")


def _watcher(folder: Path, seen: list[str]) -> Callable[[str, Any], None]:
    """Return an audit hook that notes what is written, what is read elsewhere, and what is started."""
    private = Path(tempfile.gettempdir()).resolve() / "neuroscope-"
    outside = str(folder.parent)

    def hook(event: str, arguments: Any) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
            writes = (isinstance(mode, str) and any(letter in mode for letter in "wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            # Copies of our own, that nobody else sees.
            unseen = path.startswith(str(private)) or path == os.devnull
            if unseen or (path.startswith(_ALLOWED) and not writes):
                return
            inside = path.startswith(str(folder))
            if writes or (path.startswith(outside) and not inside) or "secret" in path:
                seen.append(f"{'writes' if writes else 'reads'} {path}")
        elif event in ("os.system", "os.exec", "os.posix_spawn", "socket.connect",
                       "socket.getaddrinfo", "webbrowser.open", "urllib.Request") or (event == "subprocess.Popen" and "neuroscope.engine" not in str(arguments)):  # fmt: skip
            seen.append(f"{event} {str(arguments)[:120]}")

    return hook


def _open(name: str, one: Case, folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = {"case": name}
    os.setsid()
    opener = one.build(folder)
    before, seen = _listing(folder), list[str]()
    sys.addaudithook(_watcher(folder, seen))
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    seen.clear()
    held, start = _peak_mb(), time.monotonic()
    from napari_neuroscope.engine.errors import NeuroscopeError
    from napari_neuroscope.engine.files.code.trust import UntrustedError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said["message"] = str(opener())[:600]
        said["outcome"] = "opens"
    except UntrustedError as error:
        said |= {"outcome": "trust", "message": str(error)}
    except NeuroscopeError as error:
        said |= {"outcome": "sentence", "message": str(error)}
    except BaseException as error:  # noqa: BLE001  whatever it is, it is told
        trace = "".join(traceback.format_exception(error)[-4:])[-1500:]
        said |= {"outcome": f"raw {type(error).__name__}", "message": trace}
    said["seconds"] = time.monotonic() - start
    said["mb"] = _peak_mb() - held
    after = _listing(folder)
    changed = [p for p in after if after[p] != before.get(p)] + [
        p for p in before if p not in after
    ]
    said["did"] = seen[:8] + [f"changed {path}" for path in changed[:8]]
    return said


def _watched(name: str, one: Case, root: Path) -> dict[str, Any]:
    folder = (root / name).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        os.chdir(folder)
        try:
            said = _open(name, one, folder)
        except BaseException:  # noqa: BLE001  whatever it is, it is told
            said = {"case": name, "outcome": "not built", "message": traceback.format_exc()[-1500:]}
        os.write(writing, json.dumps(said).encode())
        # What stands open at the end, such as a process for trials, is ended.
        os.killpg(0, signal.SIGKILL) if os.getsid(0) == os.getpid() else os._exit(0)
    os.close(writing)
    data, end = b"", time.monotonic() + one.seconds + _KILLED_AFTER
    while (left := end - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            more = os.read(reading, 1 << 16)
            data += more
            if not more:
                break
    os.close(reading)
    try:
        os.killpg(child, signal.SIGKILL)
    except OSError:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said = json.loads(data) if data else {"case": name, "outcome": "died", "message": ""}
    said["ran"] = marker(folder).exists()
    shutil.rmtree(folder, ignore_errors=True)
    return said


def main() -> None:
    """Watch the cases of a module."""
    root, module_name, *names = sys.argv[1:]
    module = importlib.import_module(module_name)
    prepare = getattr(module, "prepare", None)
    if prepare is not None:
        # What the cases are made from, so that it is not made for each.
        (Path(root) / "base").mkdir(parents=True, exist_ok=True)
        prepare(Path(root) / "base")
    for name, one in cases_of(module).items():
        if not names or name in names:
            print(json.dumps(_watched(name, one, Path(root))), flush=True)


if __name__ == "__main__":
    # Cases know this module by its own name.
    from hostile import watch  # noqa: PLW0406  it is run by another name

    watch.main()
