"""Measure what batches on clusters are planned by, and write the figures into docs/clusters.md.

    python scripts/cluster_figures.py

Seconds are of a processor and not of the clock, so that they hold on a machine that has other work,
too. It takes about four minutes of one core.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

import napari_neuroscope as ns
from napari_neuroscope.engine.batch import cluster
from napari_neuroscope.engine.batch.folder import BatchFolder
from napari_neuroscope.engine.batch.journal import FOLDER as OWN_FOLDER
from napari_neuroscope.engine.batch.journal import ImageRecord
from napari_neuroscope.engine.batch.run import recipe_key, run_batch
from napari_neuroscope.engine.batch.work import Job, Work, stamp_of
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source, read_image
from napari_neuroscope.engine.results.save import file_name
from napari_neuroscope.engine.tiles.tiling import Tiling

PAGE = Path(__file__).resolve().parent.parent / "docs" / "clusters.md"
NUCLEI = Path(__file__).resolve().parents[2] / "shared" / "data" / "nuclei"
IMAGES, SIDE = 40, 256
TASKS = 1500
MANY = (10_000, 100_000)
TILE = 1024
MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
MILLION, SLIDE = 1_000_000, 1_000_000

Figures = dict[str, float]


@contextmanager
def processor() -> Iterator[list[float]]:
    """Fill in the seconds of a processor that a block takes."""
    taken: list[float] = []
    start = time.process_time()
    yield taken
    taken.append(time.process_time() - start)


# --- images ---------------------------------------------------------------------------------------


def of_images(folder: Path) -> Figures:
    """Measure what an image takes, and what is written of it."""
    images = folder / "images"
    images.mkdir()
    of_size = (path for path in sorted(NUCLEI.glob("train/images/*.png")) if _side(path) == SIDE)
    for path, _ in zip(of_size, range(IMAGES), strict=False):
        shutil.copy(path, images)
    first = next(images.iterdir())
    with processor() as loading:
        network = ns.load("demo:nuclei", device="cpu")
        network.digest()
    recipe = folder / "nuclei.neuroscope-recipe.yaml"
    ns.Recipe.of(ns.explain(network, read_image(first), "grad_cam", "nucleus")).save(recipe)
    moments: list[float] = []
    out = folder / "out"
    run_batch(
        recipe, images, out, outputs=(".tif", ".zarr"), device="cpu", threads=1,
        progress=lambda event: moments.append(time.process_time()),
    )  # fmt: skip
    seconds = [b - a for a, b in itertools.pairwise(moments[1:-1])]
    maps = out / "maps"
    zarrs = [path for path in maps.rglob("*") if path.is_file() and path.suffix != ".tif"]
    journal = (out / OWN_FOLDER / "journal.jsonl").stat().st_size
    return {
        "image seconds": statistics.median(seconds),
        "load seconds": loading[0],
        "tif bytes": _mean_size(maps.glob("*.tif")),
        "zarr bytes": sum(path.stat().st_size for path in zarrs) / IMAGES,
        "zarr files": len(zarrs) / IMAGES,
        "thumbnail bytes": _mean_size((out / "thumbnails").iterdir()),
        "journal bytes": journal / IMAGES,
    }


def _side(path: Path) -> int:
    from PIL import Image

    with Image.open(path) as image:
        return image.size[0] if image.size[0] == image.size[1] else 0


def _mean_size(paths: Iterator[Path]) -> float:
    return statistics.mean(path.stat().st_size for path in paths)


# --- the scheduler --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Idle(Work):
    """Says of each image what was said of one, without any work."""

    record: ImageRecord | None = None

    def fitted(self) -> Any:
        return None, []

    def done(self, job: Job, *_: Any) -> ImageRecord:
        assert self.record is not None
        return replace(self.record, path=job.path)


def of_scheduler(folder: Path) -> Figures:
    """Measure what the scheduler and the process that submits take for an image."""
    out, recipe = folder / "out", ns.Recipe.load(folder / "nuclei.neuroscope-recipe.yaml")
    pair = next(iter(pairs_of(folder / "images")))
    path = str(pair.image.path)
    with BatchFolder(out, recipe_key(recipe), folder / "images") as batch:
        record = batch.journal[path]
    work = Idle(recipe, out, (".tif",), record=record)
    jobs = [Job(pair, path, record.name, record.stamp)] * TASKS
    with cluster.connected(None, 2, "cpu") as client:
        # Dask fills its own logs first.
        list(cluster.records(client, work, jobs, 1, None))
        before = _resident()
        with processor() as taken:
            list(cluster.records(client, work, jobs, 1, None))
        after = _resident()
    return {
        "task seconds": taken[0] / TASKS,
        "task bytes held": max(0.0, after - before) / TASKS,
        "job bytes": len(pickle.dumps(jobs[0])),
        "record bytes": len(pickle.dumps(record)),
    }


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- what is done already -------------------------------------------------------------------------


def of_resuming(folder: Path) -> Figures:
    """Measure what it takes to see that all of a batch is done."""
    found: Figures = {}
    for count in MANY:
        batch = folder / f"{count} images"
        _pretend(folder, batch, count)
        taken = _resumed(folder, batch)
        found |= {f"{name} of {count}": value for name, value in taken.items()}
        shutil.rmtree(batch)
    return found


def _pretend(folder: Path, batch: Path, count: int) -> None:
    """Make a batch that is done; files are links to those of one image."""
    recipe = ns.Recipe.load(folder / "nuclei.neuroscope-recipe.yaml")
    images, out = batch / "images", batch / "out"
    for place in (images, out / "maps", out / "thumbnails"):
        place.mkdir(parents=True)
    source = next(iter(pairs_of(folder / "images"))).image.path
    assert source is not None
    with BatchFolder(folder / "out", recipe_key(recipe), folder / "images") as done:
        rows = done.journal[str(source)].rows
    own = {
        images: source,
        out / "maps": folder / "out" / "maps" / file_name(source.stem, ".tif"),
        out / "thumbnails": folder / "out" / "thumbnails" / f"{source.stem}.jpg",
    }
    with BatchFolder(out, recipe_key(recipe), images, force=True) as begun:
        for number in range(count):
            if number % 20_000 == 0:  # a file has so many links at most
                linked = {
                    place: Path(shutil.copy(path, batch / f"{place.name}{number}{path.suffix}"))
                    for place, path in own.items()
                }
            name = f"cell{number:07}"
            files = [place / f"{name}{path.suffix}" for place, path in linked.items()]
            for file, path in zip(files, linked.values(), strict=True):
                os.link(path, file)
            sizes = {f.relative_to(out).as_posix(): f.stat().st_size for f in files[1:]}
            stamp = stamp_of(Pair(name, Source(name, files[0])))
            begun.journal.add(ImageRecord(str(files[0]), stamp, name, sizes, rows))


def _resumed(folder: Path, batch: Path) -> Figures:
    """Run the batch again, in a process of its own."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_resume, args=(folder, batch, theirs)
    )
    process.start()
    found = ours.recv()
    process.join()
    return dict(found)


def _resume(folder: Path, batch: Path, answer: Any) -> None:
    begun = time.process_time()
    moments: list[float] = []
    result = run_batch(
        folder / "nuclei.neuroscope-recipe.yaml", batch / "images", batch / "out",
        outputs=(".tif",), device="cpu", progress=lambda event: moments.append(time.process_time()),
    )  # fmt: skip
    assert result.kept == result.total
    status = Path("/proc/self/status").read_text("ascii")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    answer.send({
        "scan seconds": moments[0] - begun,
        "summary seconds": moments[1] - moments[0],
        "peak bytes": 1024 * int(peak[1]),
    })  # fmt: skip


# --- tiles ----------------------------------------------------------------------------------------


def of_tiles(folder: Path) -> Figures:
    """Measure a tile of a large image, and how its map is written."""
    pictures = [read_image(path) for path in sorted((folder / "images").iterdir())]
    grey = [picture if picture.ndim == 2 else picture[..., 0] for picture in pictures[:8]]
    slide = np.concatenate([np.concatenate(grey, 1)] * 8)
    network = ns.load("demo:nuclei", device="cpu")
    # As of a slide, of which the layers' outputs are too large to be kept for the second pass.
    network.traces.limit = 0
    moments: list[float] = []
    out = folder / "slide.ome.zarr"
    found = ns.explain_tiled(
        network, slide, "grad_cam", "nucleus", "head", tile=TILE, out=out,
        progress=lambda done, total, what: moments.append(time.process_time()) if total else None,
    )  # fmt: skip
    steps = [b - a for a, b in itertools.pairwise(moments)]
    passes = steps[: len(steps) // 2], steps[len(steps) // 2 + 1 :]
    margins = Tiling(TILE).margins(_geometry(network), network.spec, ("head",))
    bytes_ = sum(p.stat().st_size for p in (out / "0").rglob("*") if p.is_file())
    values = np.asarray(found.values[...], np.float32)[:TILE, :TILE]
    return {
        # Tiles at the border are smaller.
        "first pass seconds": max(passes[0]),
        "second pass seconds": max(passes[1]),
        "core": TILE - sum(margins[0]),
        "map bytes a pixel": bytes_ / found.values.size,
        "whole shard seconds": _writing(folder, values, whole=True),
        "tile in shard seconds": _writing(folder, values, whole=False),
    }


def _geometry(network: ns.Network) -> Any:
    from napari_neuroscope.engine.tiles.geometry import Geometry

    return Geometry.of(network.layers, network.spec)


def _writing(folder: Path, values: np.ndarray, *, whole: bool) -> float:
    """Return the seconds of writing as many pixels as a tile's, into a shard of 4 × 4 tiles."""
    side, places = 4 * TILE, [slice(n * TILE, (n + 1) * TILE) for n in range(4)]
    times = []
    for number in range(5):
        array: Any = zarr.create_array(
            str(folder / f"shard {whole} {number}.zarr"),
            shape=(side, side), chunks=(512, 512), shards=(side, side), dtype="float32",
        )  # fmt: skip
        with processor() as taken:
            if whole:
                array[...] = np.tile(values, (4, 4))
            else:
                for at in itertools.product(places, places):
                    array[at] = values
        times += taken
    return min(times) / 16


# --- the page -------------------------------------------------------------------------------------


def tables(f: Mapping[str, float]) -> dict[str, list[tuple[str, str]]]:
    """Return the tables of the page, by name: what, and how much."""
    few, many = MANY

    def each(name: str) -> float:
        """Return what one more image takes."""
        return (f[f"{name} of {many}"] - f[f"{name} of {few}"]) / (many - few)

    pixels = SIDE * SIDE
    per_image = f["tif bytes"] + f["thumbnail bytes"] + f["journal bytes"]
    rate = 1 / f["task seconds"]
    busy = f["image seconds"] * rate
    cores = (SLIDE / f["core"]) ** 2
    hours = cores * (f["first pass seconds"] + f["second pass seconds"]) / 3600
    shards = (SLIDE / 4096) ** 2
    region = 16 * (f["first pass seconds"] + f["second pass seconds"])
    return {
        "measured": [
            (f"an image of {SIDE} × {SIDE}: read, Grad-CAM, map, thumbnail, row of the table",
             f"{_number(f['image seconds'])} s"),
            ("loading the network, once a worker, when Python and torch are there", f"{_number(f['load seconds'])} s"),
            ("the job of an image, as it is sent", f"{f['job bytes']:,.0f} bytes"),
            ("what comes back of it", f"{f['record bytes']:,.0f} bytes"),
            ("the scheduler and the submitting process together, an image",
             f"{_number(1e3 * f['task seconds'])} ms"),
            ("memory that these keep of an image that is done",
             f"{f['task bytes held']:,.0f} bytes"),
            ("map as .tif", f"{_number(f['tif bytes'] / pixels)} bytes a pixel, 1 file"),
            ("map as .zarr",
             f"{_number(f['zarr bytes'] / pixels)} bytes a pixel, {f['zarr files']:.0f} files"),
            ("thumbnail", f"{f['thumbnail bytes'] / 1024:.1f} KiB"),
            ("line of the journal", f"{f['journal bytes']:,.0f} bytes"),
            (f"a batch of {many:,} images, all done, run again: until it knows",
             f"{_number(f[f'scan seconds of {many}'])} s"),
            ("the same: summary and report", f"{_number(f[f'summary seconds of {many}'])} s"),
            ("its memory for each image of the plan", f"{each('peak bytes'):,.0f} bytes"),
            (f"a tile of {TILE} × {TILE}, Grad-CAM, first pass (gradients)",
             f"{_number(f['first pass seconds'])} s"),
            ("second pass (the map)", f"{_number(f['second pass seconds'])} s"),
            ("what of the tile is kept", f"{f['core']:.0f} × {f['core']:.0f} pixels"),
            ("map of a slide in zarr, zstd", f"{_number(f['map bytes a pixel'])} bytes a pixel"),
            ("writing a tile's map in a shard of 4096 × 4096, shard by shard",
             f"{_number(1e3 * f['whole shard seconds'])} ms"),
            ("the same, tile by tile", f"{_number(1e3 * f['tile in shard seconds'])} ms"),
        ],
        "million": [
            ("work", f"{f['image seconds'] * MILLION / 3600:,.0f} core hours"),
            ("tasks", f"{MILLION:,}, of which the scheduler knows 2 a thread and 2 more"),
            ("most that one scheduler feeds",
             f"{rate:,.0f} images a second: {busy:,.0f} cores, which take "
             f"{MILLION / rate / 3600:.1f} h"),
            ("the same of images that take a minute each", f"{60 * rate:,.0f} cores"),
            ("messages", f"{(f['job bytes'] + f['record bytes']) * MILLION / GIB:.1f} GiB in all"),
            ("maps as .tif, thumbnails and journal",
             f"{per_image * MILLION / GIB:,.0f} GiB in {2 * MILLION:,} files"),
            ("maps as .zarr in their place",
             f"{f['zarr bytes'] * MILLION / GIB:,.0f} GiB in {f['zarr files'] * MILLION:,.0f} files"),
            ("plan, until the first image", f"{each('scan seconds') * MILLION / 60:.1f} min, "
                                            f"{each('peak bytes') * MILLION / GIB:.1f} GiB of memory"),
            ("summary and report at the end", f"{each('summary seconds') * MILLION / 60:.1f} min"),
            ("loading the network on 1,000 workers",
             f"{f['load seconds'] * 1000 / 3600:.2g} core hours"),
        ],
        "slide": [
            ("pixels", "10¹², 10⁶ × 10⁶; 0.9 TiB as one byte a pixel, 2.7 TiB in colour"),
            (f"tiles of {TILE} × {TILE}, by what is kept of them",
             f"{cores:,.0f}; each pixel is read {(TILE / f['core']) ** 2:.2f} times a pass"),
            ("work of Grad-CAM with global weights", f"{hours:,.0f} core hours in two passes; "
                                                     f"{hours / 1000:.1f} h on 1,000 cores"),
            ("map", f"{f['map bytes a pixel'] * SLIDE**2 / TIB:.2f} TiB of float32, "
                    f"{f['map bytes a pixel'] * 4 / 3 * SLIDE**2 / TIB:.2f} TiB with coarser levels"),
            ("chunks of 512 × 512", f"{(SLIDE / 512) ** 2:,.0f}"),
            ("files: shards of 4096 × 4096", f"{shards:,.0f}, and a third more for coarser levels"),
            ("a region of one shard: a task",
             f"{region / 60:.1f} min of a core, {4096**2 * 4 / MIB:.0f} MiB of map in memory"),
            ("tasks", f"{2 * shards:,.0f} in two passes: {1000 / (region / 2):.0f} a second on 1,000 "
                      f"cores, of {rate:,.0f} that the scheduler could"),
            ("lost when a worker dies", f"at most a region: {region / 2 / 60:.1f} min of a core"),
        ],
    }  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.3g}"


def write(page: Path, found: Mapping[str, list[tuple[str, str]]]) -> None:
    """Write tables between their marks."""
    text = page.read_text("utf-8")
    for name, rows in found.items():
        begin, end = f"<!-- figures: {name} -->", "<!-- end of figures -->"
        table = "".join(f"| {what} | {much} |\n" for what, much in rows)
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        new = f"{begin}\n| what | figure |\n| --- | --- |\n{table}{end}"
        text, count = pattern.subn(lambda _, new=new: new, text)  # type: ignore[misc]
        if count != 1:
            sys.exit(f"{page} has {count} places for the figures “{name}”.")
    page.write_text(text, "utf-8")


def main() -> None:
    torch.set_num_threads(1)
    found: Figures = {}
    with tempfile.TemporaryDirectory() as place:
        for measured in (of_images, of_scheduler, of_tiles, of_resuming):
            begun = time.monotonic()
            found |= measured(Path(place))
            print(f"{measured.__name__}: {time.monotonic() - begun:.0f} s", flush=True)
    print(json.dumps(found, indent=1))
    write(PAGE, tables(found))


if __name__ == "__main__":
    main()
