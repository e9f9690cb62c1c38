"""The work of a batch on Dask: processes of this machine, or any cluster."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from distributed import Client, Future, KilledWorker, WorkerPlugin
from distributed.worker import get_worker

from napari_neuroscope.engine.batch.journal import FOLDER as OWN_FOLDER
from napari_neuroscope.engine.batch.journal import ImageRecord
from napari_neuroscope.engine.batch.local_cluster import begun, local_cluster
from napari_neuroscope.engine.batch.work import Job, Work, failed
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.code.granted import granting
from napari_neuroscope.engine.networks.network import Network

_PLUGIN = "napari-neuroscope batch"
# What decides which numbers come out.
_SAME_VERSIONS = ("napari-neuroscope", "torch")
_LOOK_EVERY_S = 0.25
_COUNT_WORKERS_EVERY_S = 5.0


@contextmanager
def connected(
    scheduler: str | None, workers: int, device: str, cancel: threading.Event | None = None
) -> Iterator[Client]:
    """Connect to a cluster, or start one of processes of this machine that ends with it.

    Once `cancel` is set, processes that are still to start are not waited for.

    Raises
    ------
    NeuroscopeError
        Where there is no scheduler at the address.
    """
    with ExitStack() as stack:
        if scheduler is None:
            cluster = stack.enter_context(local_cluster(workers, device, cancel))
            yield stack.enter_context(begun(lambda: _client(cluster)))
            return
        try:
            client = stack.enter_context(_client(scheduler))
        except (OSError, ValueError) as error:
            raise NeuroscopeError(
                f"No Dask scheduler answers at {scheduler}; give the address that it printed when "
                f"it began, such as tcp://10.0.0.1:8786."
            ) from error
        yield client


def _client(address: Any) -> Client:
    return Client(address, timeout=20, set_as_default=False)


# --- on a worker ----------------------------------------------------------------------------------


class _Worker(WorkerPlugin):
    """Tells each worker, also those that come later, what is to be done."""

    def __init__(self, work: Work, threads: int | None) -> None:
        self.work, self.threads = work, threads
        self.versions = {name: version(name) for name in _SAME_VERSIONS}

    def setup(self, worker: Any) -> None:
        self.lock = threading.Lock()
        self.network: Network | None = None
        self.notes: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in ("work", "threads", "versions")}

    def done(self, job: Job) -> ImageRecord:
        """Do the work on an image; the first loads the network."""
        # A worker of a cluster may have several threads.
        with self.lock, granting(self.work.let_run):
            if self.network is None:
                self._refuse(job)
                torch.set_num_threads(self.threads or get_worker().state.nthreads)
                self.network, self.notes = self.work.fitted()
            return self.work.done(job, self.network, self.notes)

    def _refuse(self, job: Job) -> None:
        here = f"The worker on {socket.gethostname()}"
        for name, wanted in self.versions.items():
            if (installed := version(name)) != wanted:
                raise NeuroscopeError(
                    f"{here} has {name} {installed}, but this machine {wanted}; install the same, so "
                    f"that it makes the same maps."
                )
        for path in (self.work.out / OWN_FOLDER, Path(job.path)):
            if not path.exists():
                raise NeuroscopeError(
                    f"{here} does not see {path}; images, network and output must lie where all "
                    f"machines reach them by the same paths."
                )


def _done(job: Job) -> ImageRecord:
    return cast(_Worker, get_worker().plugins[_PLUGIN]).done(job)


# --- on this machine ------------------------------------------------------------------------------


def records(
    client: Client,
    work: Work,
    jobs: Sequence[Job],
    threads: int | None,
    cancel: threading.Event | None,
) -> Iterator[ImageRecord]:
    """Do the work on a cluster, and yield what became of each image as it comes.

    An image with which a worker dies is tried again at the end, by itself: another one may have
    taken the memory.

    Raises
    ------
    NeuroscopeError
        Where a worker can't begin, nothing can be written any more, or the cluster is lost.
    """
    try:
        client.register_plugin(_Worker(work, threads), name=_PLUGIN)
    except ImportError as error:
        raise NeuroscopeError(
            f"The scheduler's machine lacks {error.name}; install napari-neuroscope there, and on "
            f"all workers, in the version that is here."
        ) from error
    try:
        suspects: list[Job] = []
        for job, record in _results(client, jobs, cancel):
            if record is None:
                suspects.append(job)
            else:
                yield record
        for suspect in suspects:
            for job, record in _results(client, [suspect], cancel):
                yield record or failed(job, _KILLED)
    finally:
        # A cluster that is lost knows of no plugin.
        if client.status == "running":
            client.unregister_worker_plugin(_PLUGIN)


_KILLED = (
    "Each process that worked on the image was killed, likely for want of memory; explain it tile "
    "by tile, or with fewer workers."
)


def _results(
    client: Client, jobs: Iterable[Job], cancel: threading.Event | None
) -> Iterator[tuple[Job, ImageRecord | None]]:
    """Yield each image with what became of it; None where workers died of it.

    The scheduler knows of a few images at a time, however many there are.
    """
    left = iter(jobs)
    waiting: dict[Future[ImageRecord], Job] = {}
    ready: queue.SimpleQueue[Future[ImageRecord]] = queue.SimpleQueue()
    most, counted = 0, -_COUNT_WORKERS_EVERY_S
    try:
        while True:
            if time.monotonic() >= counted + _COUNT_WORKERS_EVERY_S:
                most, counted = 2 * sum(client.nthreads().values()) + 2, time.monotonic()
            while len(waiting) < most and (job := next(left, None)) is not None:
                future = client.submit(_done, job, pure=False)
                waiting[future] = job
                future.add_done_callback(ready.put)
            if not waiting or (cancel is not None and cancel.is_set()):
                return
            try:
                future = ready.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                if client.status not in ("running", "connecting"):
                    raise _lost() from None
                continue
            yield waiting.pop(future), _result(future)
    finally:
        for future in waiting:
            future.cancel()


def _result(future: Future[ImageRecord]) -> ImageRecord | None:
    # A result may be lost with its worker before it is here, and be another then.
    try:
        return future.result()
    except KilledWorker:
        return None
    except CancelledError as error:
        raise _lost() from error
    except NeuroscopeError:
        raise
    except Exception as error:
        raise NeuroscopeError(
            f"A worker failed unexpectedly ({type(error).__name__}: {error})."
        ) from error


def _lost() -> NeuroscopeError:
    return NeuroscopeError("The Dask scheduler is lost; run the batch again to go on.")
