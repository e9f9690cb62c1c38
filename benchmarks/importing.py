"""Importing the package in a fresh interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys

from rows import Row, hand_over

_CODE = """
import sys, time
start = time.perf_counter()
import napari_neuroscope
took = time.perf_counter() - start
heavy = {"torch", "qtpy", "napari", "numpy"} | {
    f"{name}{number}" for name in ("PyQt", "PySide") for number in (2, 5, 6)
}
print(took, *sorted(heavy & set(sys.modules)))
"""


def main() -> Row:
    runs = [
        subprocess.run([sys.executable, "-c", _CODE], check=True, capture_output=True, text=True)
        for _ in range(22)
    ]
    answers = [run.stdout.split() for run in runs[1:]]
    seconds = [float(answer[0]) for answer in answers]
    loaded = answers[0][1:]
    if loaded:
        raise AssertionError(f"importing the package loads {', '.join(loaded)}")
    return Row(
        "`import napari_neuroscope` in a fresh interpreter",
        "",
        statistics.median(seconds) * 1000,
        None,
        "ms",
        "limit",
        100,
        f"{min(seconds) * 1000:.2g}–{max(seconds) * 1000:.2g} ms, n={len(seconds)}",
        ["loads neither torch, Qt, napari nor numpy"],
    )


if __name__ == "__main__":
    hand_over(main())
