"""How well the limit of kept traces holds: what the system counts, beside what the cache says.

Fresh processes, in which memory that is let go goes back to the system at once (Linux).
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nets
import timing
from rows import Row, hand_over

MIB, IMAGES = 1 << 20, 16
LIMITS = {"unet": 1024, "resnet50": 1024, "resnet18": 512}
WORDS = {"unet": "the U-Net, 256 × 256", "resnet50": "ResNet-50", "resnet18": "ResNet-18"}


def resident() -> int:
    """Return the memory that this process holds itself."""
    gc.collect()
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found
    return int(found[1]) * 1024


def fill(name: str) -> list[tuple[int, int, int]]:
    """Explain many images by three classes; after each: traces, bytes said, bytes held."""
    import napari_neuroscope as ns

    timing.set_threads()
    network: Any
    if name == "unet":
        network, size = nets.wrapped(nets.unet(3), "segmentation"), 256
    else:
        network, size = nets.wrapped(nets.resnet(int(name[6:]))), 224
    layer = [n for n in network.layers if network.layers[n].kind == "convolution"][-1]
    network.traces.limit = LIMITS[name] * MIB

    def explain(number: int) -> None:
        for index in range(3):
            ns.explain(network, nets.image(number, size), "grad_cam", index, layer, keep="fit")

    explain(1000)
    network.traces.clear()
    before, found = resident(), []
    for number in range(IMAGES):
        explain(number)
        found.append((len(network.traces), network.traces.nbytes, resident() - before))
    return found


def main() -> list[Row]:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TRIM_THRESHOLD_": "0"}
    rows = []
    for name, limit in LIMITS.items():
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True,
                              check=True, env=environment)  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        most = max(held for _, _, held in found) / MIB
        apart = max(abs(held - said) for _, said, held in found) / MIB
        row = Row(
            f"Traces of {IMAGES} images kept within {limit} MiB, {WORDS[name]}: most held",
            "",
            most,
            None,
            "MiB",
            "limit",
            round(1.05 * limit, 1),
            f"{found[-1][0]} traces are kept",
        )
        apart_row = Row(
            f"Traces of {IMAGES} images kept within {limit} MiB, {WORDS[name]}: what the cache "
            f"says is off by",
            "",
            100 * apart / limit,
            None,
            "% of the limit",
            "limit",
            5.0,
        )
        rows += [row, apart_row]
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(fill(sys.argv[1])))
    else:
        hand_over(*main())
