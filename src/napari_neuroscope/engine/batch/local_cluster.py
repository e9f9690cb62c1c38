"""Processes of this machine that work on a batch, which end with this one.

It is imported by each of them before anything else, and so imports little.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import dask.config
from dask.system import CPU_COUNT
from distributed import Client, Nanny, Scheduler, SpecCluster, WorkerPlugin
from distributed.security import Security
from distributed.utils import LoopRunner
from tornado.ioloop import IOLoop

from napari_neuroscope.engine.errors import NeuroscopeError

# An image waits at the scheduler and not at a worker, with which it might be taken for dead.
_SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,
    # What the dashboard needs, and no way on to other places.
    "distributed.scheduler.http.routes": [
        f"distributed.http.{name}" for name in ("scheduler.info", "health", "statics")
    ],
    "distributed.worker.http.routes": [],
    # Dask has memory given back at once. Tensors come and go: each would be mapped anew, which
    # takes longer than the work.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # The current folder, which may be a stranger's, is no place for modules.
    "distributed.nanny.pre-spawn-environ.PYTHONSAFEPATH": "1",
    # Looking at what Python is at, each 10 ms, takes a part of it.
    "distributed.worker.profile.enabled": False,
}

Resource = TypeVar("Resource", Client, SpecCluster)

DEATHS = 2
"""How many workers may die with an image, before it is left for the end."""
_LOOK_EVERY_S = 0.25
_STARTING_SECONDS = 600.0
_HERE = "127.0.0.1"


def threads_each(workers: int) -> int:
    """Return how many threads each worker of this machine computes with."""
    return max(1, CPU_COUNT // workers)


@contextmanager
def local_cluster(
    workers: int, device: str, cancel: threading.Event | None
) -> Iterator[SpecCluster]:
    """Start processes that work on one image at a time each."""
    # A key and a certificate of this batch alone: who hasn't them can't connect, and a worker runs
    # whatever one who is connected sends.
    security = Security.temporary()
    common = {"host": _HERE, "protocol": "tls", "security": security}
    options = {
        **common,
        "nthreads": 1,
        # The machine's memory is shared as it comes.
        "memory_limit": 0,
        "dashboard": False,
        "dashboard_address": f"{_HERE}:0",
        "silence_logs": logging.CRITICAL,
        "plugins": [_InterruptIgnorer()],
    }
    scheduler = {
        "cls": Scheduler,
        "options": {
            **common,
            "dashboard": True,
            "dashboard_address": f"{_HERE}:0",
            "allowed_failures": DEATHS - 1,
        },
    }
    with (
        _silent_logs(),
        _same_environment(),
        dask.config.set(_SETTINGS),
        _loop() as loop,
        begun(
            lambda: SpecCluster(
                scheduler=scheduler, security=security, loop=loop, silence_logs=False
            )
        ) as cluster,
    ):
        cluster.worker_spec.update({
            number: {"cls": Nanny, "options": {**options, "env": environment(number, device)}}
            for number in range(workers)
        })  # fmt: skip
        cluster.scale(workers)
        _wait_for(cluster, workers, cancel or threading.Event())
        yield cluster


def _wait_for(cluster: SpecCluster, workers: int, cancel: threading.Event) -> None:
    """Wait until the workers have started; what interrupts that cuts nothing of it in half."""
    end = time.monotonic() + _STARTING_SECONDS
    scheduler: Any = cluster.scheduler
    while len(scheduler.workers) < workers:
        if time.monotonic() > end:
            raise NeuroscopeError(
                f"{workers} workers did not start within {_STARTING_SECONDS:.0f} seconds; try fewer, "
                f"or one, which works in this process."
            )
        if cancel.wait(_LOOK_EVERY_S):
            return


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Print nothing of what Dask writes down: what matters is raised."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    handlers = list(logging.getLogger("distributed").handlers)
    for handler in handlers:
        handler.addFilter(nothing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(nothing)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Leave Ctrl-C for afterwards, in this thread and in what it begins."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def begun(begin: Callable[[], Resource]) -> Iterator[Resource]:
    """Open what can't be closed again where its beginning was interrupted."""
    with ExitStack() as stack:
        with _interrupts_blocked():
            opened = stack.enter_context(begin())
        yield opened


@contextmanager
def _same_environment() -> Iterator[None]:
    """Put the process's environment back, in which Dask leaves what its workers shall have."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _loop() -> Iterator[IOLoop]:
    """Start the loop in whose threads processes are begun, so that they are deaf to Ctrl-C.

    A terminal sends it to all of them; the one that ends the others alone shall hear it.
    """
    runner = LoopRunner(asynchronous=False)
    if sys.platform != "win32":
        _begin_tracker()
    with _interrupts_blocked():
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()


def _begin_tracker() -> None:
    """Begin the process that removes what is left in the system where this one is killed.

    Later it would unblock signals in the thread that begins it. It says on the terminal what it
    removed, unless it is told not to.
    """
    name = "PYTHONWARNINGS"
    before = os.environ.get(name)
    os.environ[name] = "ignore:resource_tracker:UserWarning"
    try:
        resource_tracker.ensure_running()
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def environment(number: int, device: str) -> dict[str, str]:
    """Give each process a GPU of its own; more processes than GPUs share them."""
    import torch

    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if count == 0:
        return {}
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in seen.split(",") if name] or [str(n) for n in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]}


class _InterruptIgnorer(WorkerPlugin):
    """Leaves Ctrl-C, which a terminal sends to all processes, to the one that ends the others."""

    def setup(self, worker: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
