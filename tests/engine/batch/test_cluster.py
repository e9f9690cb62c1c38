"""Batches on Dask: as many workers as there are, the maps are the same; also where some die."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed.comm import connect
from distributed.security import Security
from skimage.io import imread, imsave

import napari_neuroscope as ns
from batches import DEADLY, DEADLY_ONCE, images_in, recipe_in, written
from places import FIXTURES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by signals")


@pytest.fixture(autouse=True)
def _workers_find_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FIXTURES), prepend=os.pathsep)


def run(recipe: Path, images: Path, out: Path, **more: Any) -> ns.BatchResult:
    return ns.run_batch(recipe, images, out, device="cpu", trust=True, threads=1, **more)


def marked(path: Path, value: int) -> Path:
    image = imread(path)
    image[0, 0] = value
    imsave(path, image, check_contrast=False)
    return path


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Return the addresses at which a process and its children can be reached."""
    return [
        tuple(connection.laddr)
        for one in (process, *process.children(recursive=True))
        for connection in one.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes that work for another."""
    return [one for one in process.children(recursive=True) if "spawn_main" in str(one.cmdline())]


def assert_closed_to_others() -> None:
    """Nobody on this machine can have the batch's processes run anything."""
    places = listening(psutil.Process())
    assert len(places) > 3
    assert {address for address, _ in places} == {"127.0.0.1"}
    # A client without the batch's key is refused by each of them; a page to look at is none.
    stranger = Security.temporary().get_connection_args("client")

    async def answer(address: str, more: dict[str, Any]) -> object:
        comm = await connect(address, timeout=1, **more)
        await comm.write({"op": "identity", "reply": True})
        return await comm.read()

    async def ask(port: int) -> None:
        for protocol, more in (("tcp", {}), ("tls", stranger)):
            with pytest.raises((OSError, TimeoutError)):
                await asyncio.wait_for(answer(f"{protocol}://127.0.0.1:{port}", more), 3)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(port) for _, port in places))

    asyncio.run(ask_all())
    assert len(workers_of(psutil.Process())) == 2


@pytest.mark.timeout(900)  # processes begin slowly where the machine is busy
def test_two_workers_of_which_some_die_make_what_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image kills its worker once, one each time; the others are done."""
    monkeypatch.setattr("napari_neuroscope.engine.batch.local_cluster.DEATHS", 1)
    recipe, images = recipe_in(tmp_path / "recipe", deadly=True), tmp_path / "images"
    paths = images_in(images, 6)
    once, deadly = marked(paths[2], DEADLY_ONCE), marked(paths[4], DEADLY)
    events: list[ns.BatchEvent] = []
    environment_before = dict(os.environ)

    def follow(event: ns.BatchEvent) -> None:
        events.append(event)
        if event.kind == "started":
            assert_closed_to_others()

    result = run(recipe, images, tmp_path / "two", workers=2, progress=follow)
    assert dict(os.environ) == environment_before
    assert not workers_of(psutil.Process())
    assert (tmp_path / "recipe" / "alive").exists()
    assert (result.done, result.left) == (5, 0)
    assert [(one.name, "was killed" in one.reason) for one in result.failed] == [
        (str(deadly), True)
    ]
    assert events[0].dashboard.startswith("http://127.0.0.1:")
    assert (events[-1].kind, events[-1].done, events[-1].failed) == ("finished", 5, 1)
    # Alone, and without what kills it: the image that did so once is among those compared.
    deadly.unlink()
    one = run(recipe, images, tmp_path / "one")
    assert (one.done, one.failed) == (5, ())
    found, expected = written(tmp_path / "two"), written(tmp_path / "one")
    problem = [line for line in found["summary"].splitlines() if b"was killed" in line]
    assert len(problem) == 1
    found["summary"] = b"\n".join(
        line for line in found["summary"].splitlines() if line not in problem
    )
    assert once.exists()
    assert found == expected


@pytest.mark.timeout(900)
def test_workers_end_with_a_batch_that_is_killed(tmp_path: Path) -> None:
    """And what it made is kept: run again it makes what an uninterrupted one makes."""
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    images_in(images, 30)
    script = tmp_path / "run.py"
    script.write_text(_KILLED)
    with subprocess.Popen(
        [sys.executable, script, recipe, images, tmp_path / "out"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        workers = workers_of(psutil.Process(process.pid))
        assert len(workers) == 2
        process.kill()
    psutil.wait_procs(workers, timeout=60)
    assert not [one for one in workers if one.is_running() and one.status() != "zombie"]
    result = run(recipe, images, tmp_path / "out")
    assert result.kept > 0
    assert result.left == 0
    run(recipe, images, tmp_path / "whole")
    assert written(tmp_path / "out") == written(tmp_path / "whole")


_KILLED = """
import sys
import napari_neuroscope as ns

def follow(event):
    if event.kind == "image":
        print(event.image, flush=True)

if __name__ == "__main__":
    ns.run_batch(*sys.argv[1:], device="cpu", trust=True, threads=1, workers=2, progress=follow)
"""


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A cluster of one worker that is no part of this process."""
    code = (
        "import sys, time\n"
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None,\n"
        "                      host='127.0.0.1', silence_logs=50) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        sys.stdin.read()\n"
    )
    script = tmp_path / "cluster.py"
    script.write_text(code)
    # As many threads as here: PyTorch sums in another order with more, so that last bits differ.
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        assert process.stdin is not None
        process.stdin.close()


def test_a_cluster_elsewhere_does_the_work(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    images_in(images, 3)
    (images / "broken.png").write_bytes(b"no image")
    result = run(recipe, images, tmp_path / "there", scheduler=scheduler)
    assert (result.done, len(result.failed)) == (3, 1)
    run(recipe, images, tmp_path / "here")
    assert written(tmp_path / "there") == written(tmp_path / "here")
    # What is wrong with the workers is told before anything is made.
    monkeypatch.setattr("napari_neuroscope.engine.batch.cluster.version", lambda name: "0.0.7")
    with pytest.raises(
        ns.NeuroscopeError, match=r"has napari-neuroscope .*, but this machine 0.0.7"
    ):
        run(recipe, images, tmp_path / "other", scheduler=scheduler)
    assert not (tmp_path / "other" / "maps").exists()


def test_an_address_where_no_scheduler_is(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "recipe")
    images_in(tmp_path / "images", 1)
    with pytest.raises(ns.NeuroscopeError, match="No Dask scheduler answers at nowhere"):
        run(recipe, tmp_path / "images", tmp_path / "out", scheduler="nowhere")
