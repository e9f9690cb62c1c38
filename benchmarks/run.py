"""Run the benchmarks, each in a process of its own, and write RESULTS.md.

python benchmarks/run.py [--device cuda] [figure ...]; all of them when none is named. Results of
another device than the CPU have files of their own, and only the figures in ANYWHERE run on it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rows import Row, taken_from
from timing import THREADS, Neighbours

HERE = Path(__file__).parent
FIGURES = {
    "import": ["importing.py"],
    "one-pass": ["many_layers.py", "one-pass"],
    "memory": ["memory.py"],
    "captum": ["many_layers.py", "captum"],
    "pytorch-grad-cam": ["many_layers.py", "pytorch-grad-cam"],
    "classes": ["many_classes.py"],
    "guided-18": ["guided.py", "18"],
    "guided-50": ["guided.py", "50"],
    "traced": ["traced.py"],
    "unet": ["unet_classes.py"],
    "stalls": ["stalls.py"],
    "live": ["live.py", "unet"],
    "live-stack": ["live.py", "stack"],
    "architecture": ["architecture.py"],
    "traces": ["traces.py"],
    "evaluation": ["evaluation.py"],
    "regions": ["regions.py", "splits"],
    "regions-class": ["regions.py", "again"],
    "regions-guided": ["regions.py", "guided"],
    "xrai": ["regions.py", "pair"],
    "score-cam": ["masked_cams.py", "score-cam"],
    "ablation-cam": ["masked_cams.py", "ablation-cam"],
    "rise": ["perturbations.py", "rise"],
    "many-classes": ["perturbations.py", "many-classes"],
    "occlusion": ["perturbations.py", "occlusion"],
    "integrated-gradients": ["perturbations.py", "integrated-gradients"],
    "curves": ["faithfulness.py", "curves"],
    "sanity": ["faithfulness.py", "sanity"],
    "variants-memory": ["variants_memory.py"],
    "tiling-memory": ["tiling.py", "memory", "score_map"],
    # Of 16384 a side it takes four times as long.
    "tiling-memory-cam": ["tiling.py", "memory", "grad_cam", "8192", "4096"],
    "tiling-pace": ["tiling.py", "pace"],
    "keras-layers": ["keras_layers.py", "tf-keras-vis"],
    "keras-pass": ["keras_layers.py", "tape"],
    "keras-guided": ["keras_layers.py", "guided"],
    "keras-load": ["keras_layers.py", "load"],
    "batch-workers": ["batch.py", "workers"],
    "batch-overhead": ["batch.py", "overhead"],
    "batch-killed": ["batch.py", "killed"],
}
ANYWHERE = (
    "score-cam", "ablation-cam", "rise", "many-classes", "occlusion", "integrated-gradients",
    "curves", "sanity", "variants-memory",
)  # fmt: skip
PACKAGES = (
    "napari-neuroscope", "torch", "torchvision", "captum", "grad-cam", "numpy", "napari", "PyQt6",
    "tensorflow-cpu", "keras", "tf-keras-vis", "saliency", "scikit-image",
    "distributed", "zarr", "pyarrow",
)  # fmt: skip


def measure(name: str, device: str) -> tuple[list[Row], str]:
    """Return the rows of a figure, and how it went."""
    file, *arguments = FIGURES[name]
    threads = str(THREADS)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
                   "BENCHMARK_DEVICE": device}  # fmt: skip
    start = time.monotonic()
    with Neighbours() as neighbours:
        done = subprocess.run(
            [sys.executable, str(HERE / file), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    took = time.monotonic() - start
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message"
        return [], f"{name}: failed, {last}"
    return taken_from(done.stdout), (
        f"{name}: took {took:.0f} s, and others meanwhile {neighbours.share:.0%} of the machine"
    )


def machine(device: str) -> list[str]:
    """Return what the figures were measured on."""
    model = platform.processor() or platform.machine()
    memory, system = "", platform.platform()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((s.split(": ")[1] for s in lines if s.startswith("model name")), model)
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {total / 2**30:.0f} GiB of memory"
        system = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {system}"
    where = "no GPU used"
    if device != "cpu":
        import torch

        where = f"on {torch.cuda.get_device_name(device)}"
    return [
        f"- {model}, {os.cpu_count()} cores{memory}; {where}; torch on {THREADS} threads",
        f"- {system}",
        f"- Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def write(results: dict[str, dict[str, Any]], device: str, to: Path) -> None:
    """Write what each figure was when it was last measured."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `make benchmark`. Ours and the peer take turns in one process, on the same model, "
        "weights, image and number of threads; medians are given, and each pair is checked to "
        "compute the same. An image is new in each repeat, so that nothing is answered from the "
        "cache; ours includes the preprocessing, the resampling to one stack and the record of "
        "how it was made. Weights are untrained: they don't change the work.",
        "",
        *machine(device),
        "",
        "| what | peer | ours (median) | peer (median) | ratio | asked | met? |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    kept = [results[name] for name in FIGURES if name in results]
    lines += ["| " + " | ".join(cells) + " |" for figure in kept for cells in figure["table"]]
    lines += ["", "Spread (smallest to largest) and notes:", ""]
    lines += [f"- {note}" for figure in kept for note in figure["notes"]]
    lines += ["", "How it went:", "", *(f"- {figure['how']}" for figure in kept), ""]
    to.write_text("\n".join(lines), "utf-8")


def kept_of(rows: list[Row], how: str) -> dict[str, Any]:
    """Return what is kept of a figure: rows of the table, notes, and how it went."""
    notes = []
    for row in rows:
        said = [n for n in (row.spread, *row.notes) if n]
        if said:
            beside = f" — {row.peer}" if row.peer else ""
            notes.append(f"{row.what}{beside}: {'; '.join(said)}")
    table = [row.cells() for row in rows] or [[how, "", "", "", "", "", "**no**"]]
    return {"table": table, "notes": notes, "how": f"{datetime.date.today()}, {how}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], metavar="figure",
                        help=", ".join(FIGURES))  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    arguments = parser.parse_args()
    device, on_cpu = arguments.device, arguments.device == "cpu"
    asked = arguments.figures or list(FIGURES if on_cpu else ANYWHERE)
    if not on_cpu and (kept := [name for name in asked if name not in ANYWHERE]):
        parser.error(f"{', '.join(kept)} run on the CPU alone")
    end = "" if on_cpu else f"-{device.partition(':')[0]}"
    record, table = HERE / f"results{end}.json", HERE / f"RESULTS{end}.md"
    # Figures that are not asked for stay as they were measured last.
    results = json.loads(record.read_text("utf-8")) if record.exists() else {}
    failed = False
    for name in asked:
        print(f"{name} …", flush=True)
        rows, how = measure(name, device)
        for row in rows:
            print("  " + " | ".join(row.cells()), flush=True)
            print("    " + "; ".join([row.spread, *row.notes]), flush=True)
        print(f"  {how}", flush=True)
        failed |= not rows
        results[name] = kept_of(rows, how)
        record.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
        write(results, device, table)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
