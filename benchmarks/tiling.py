"""Images tile by tile: peak memory beside a smaller image's, and the pace beside no tiles.

memory: each run is a process of its own, that reads a zarr array and writes an OME-Zarr. It takes
a while; `python benchmarks/tiling.py memory grad_cam 8192 4096` measures one of them, of other sides.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_neuroscope as ns
import nets
import timing
from memory import MIB, _status
from rows import Row, hand_over

# Of the smallest U-Net that is one, so that the large image takes minutes and not hours.
WIDTH = 2
LARGE, SMALL, BOTH_FIT, TILE = 16384, 4096, 2048, 1024
# With random weights the positive part of Grad-CAM may be nothing, so all of it is asked for.
QUESTIONS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "score_map": ("scores", None, {}),
    "grad_cam": ("Grad-CAM of the last block of its decoder", "dec1", {"relu": False}),
}


def network() -> ns.Network:
    """Return the demo's U-Net, narrow and with random weights."""
    from napari_neuroscope.samples.architectures import UNet

    torch.manual_seed(0)
    spec = {
        "task": "segmentation",
        "input": {"size": {"min": 16, "step": 8}, "resize": "pad", "order": "gray"},
    }
    made = ns.wrap(UNet(in_channels=1, width=WIDTH).eval(), spec, device=timing.DEVICE)
    assert len(made.layers)
    return made


def slide(path: Path, side: int) -> None:
    """Write an image of smooth noise, the same one again and again, as a zarr array."""
    import zarr

    tile = nets.image(0, TILE)[..., 0]
    array = zarr.create_array(str(path), shape=(side, side), chunks=(TILE, TILE), dtype="uint8")
    for y in range(0, side, TILE):
        for x in range(0, side, TILE):
            array[y : y + TILE, x : x + TILE] = tile


def run(method: str, source: str, out: str) -> dict[str, Any]:
    """Explain a stored image in this process; return its peak memory and its seconds."""
    import zarr

    start = time.perf_counter()
    _, layer, options = QUESTIONS[method]
    found = ns.explain_tiled(
        network(), zarr.open_array(source, mode="r"), method, 1, layer, tile=TILE, out=out,
        **options,
    )  # fmt: skip
    assert found.unfinished == ""
    return {"peak": _status("VmHWM") / MIB, "seconds": time.perf_counter() - start}


def memory(*methods: str, large: int = LARGE, small: int = SMALL) -> list[Row]:
    """Return what the large image takes beside the small one."""
    rows = []
    for method in methods or QUESTIONS:
        words, found = QUESTIONS[method][0], {}
        for side in (small, large):
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "slide.zarr")
                slide(source, side)
                done = subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        "run",
                        method,
                        str(source),
                        f"{folder}/map.ome.zarr",
                    ],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            found[side] = json.loads(done.stdout.splitlines()[-1])
        seconds = ", ".join(f"{side}² took {found[side]['seconds']:.0f} s" for side in found)
        rows.append(
            Row(
                f"Peak resident memory: {words} of a U-Net of width {WIDTH}, {large} × {large}, in "
                f"tiles of {TILE}, zarr to OME-Zarr",
                f"the same of {small} × {small}",
                found[large]["peak"],
                found[small]["peak"],
                "MiB",
                "cost",
                1.1,
                "",
                [f"a process each; {seconds}"],
            )
        )
    return rows


def pace() -> list[Row]:
    """Return the time of tiles beside that of no tiles, where both fit."""
    made, picture = network(), nets.image(0, BOTH_FIT)[..., 0]
    rows = []
    for method, (words, layer, options) in QUESTIONS.items():
        asked = (made, picture, method, 1, layer)

        def tiled(_: int, asked: Any = asked, options: Any = options) -> Any:
            return ns.explain_tiled(*asked, tile=TILE, **options)

        def whole(_: int, asked: Any = asked, options: Any = options) -> Any:
            made.traces.clear()
            return ns.explain(*asked, keep="asked", **options)

        expected = whole(0).values
        worst = float(np.abs(tiled(0).values - expected).max() / np.abs(expected).max())
        assert worst < 1e-5
        times = timing.alternate({"ours": tiled, "peer": whole}, 5)
        rows.append(
            Row.of_times(
                f"{words[0].upper()}{words[1:]} of a U-Net of width {WIDTH}, {BOTH_FIT} × "
                f"{BOTH_FIT}, in tiles of {TILE}",
                "the same in one pass",
                times["ours"],
                times["peer"],
                "cost",
                1.3,
                f"equal to {worst:.1g} of the largest value",
            )
        )
    made.traces.clear()
    return rows


if __name__ == "__main__":
    timing.set_threads()
    what, *arguments = sys.argv[1:]
    if what == "run":
        print(json.dumps(run(*arguments)))
    else:
        sides = [int(one) for one in arguments if one.isdecimal()]
        chosen = [one for one in arguments if not one.isdecimal()]
        sized = dict(zip(("large", "small"), sides, strict=False))
        hand_over(*(pace() if what == "pace" else memory(*chosen, **sized)))
