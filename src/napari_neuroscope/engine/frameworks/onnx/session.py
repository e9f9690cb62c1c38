"""Sessions of ONNX Runtime: how one is opened, and how a pass runs that can be stopped."""

from __future__ import annotations

import threading
import time
from typing import Any

import torch

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, TimeLimitError, no_progress
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.frameworks.common import device_of_arrays, parse_device
from napari_neuroscope.engine.frameworks.onnx.errors import why_not_opened
from napari_neuroscope.engine.frameworks.onnx.files.load import OnnxFile

ASK_EVERY_S = 0.1
_TIME_TO_END_S = 2.0
"""How long a pass that was stopped has to end."""


def open_session(
    file: OnnxFile, hidden: list[str], device: str, *, folds: bool, joins: bool = True
) -> tuple[Any, torch.device]:
    """Make a session whose outputs are the network's and the tensors inside of it.

    Where it `folds`, what doesn't depend on the image is computed once; where it `joins`,
    operations between which no tensor is seen may become one.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What fails is raised and said once.
    options.log_severity_level = 4
    # A plan of the memory of a pass is laid beside what the pass before it left: twice as much.
    options.enable_mem_pattern = False
    # More would change how tensors lie in memory, and lose time where all of them are outputs.
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_EXTENDED if joins else levels.ORT_DISABLE_ALL
    )
    if file.folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(file.folder)
        )
    place, providers = _choose_device(device)
    # Two messages, one after another, are read as one that has the fields of both: no weights
    # are copied, and the model that was given is not changed.
    try:
        more = onnx.GraphProto(output=[onnx.ValueInfoProto(name=name) for name in hidden])
        content = file.content + onnx.ModelProto(graph=more).SerializeToString()
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=providers,
            enable_fallback=0,
            disabled_optimizers=[] if folds else ["ConstantFolding"],
        )
    except UnicodeError:
        raise
    except Exception as error:
        if len(providers) > 1 and device == "auto":
            return open_session(file, hidden, "cpu", folds=folds, joins=joins)
        raise NeuroscopeError(
            why_not_opened(str(error), onnxruntime.__version__, file.title)
        ) from error
    if len(providers) > 1 and session.get_providers()[0] != "CUDAExecutionProvider":
        if device != "auto":
            raise _unavailable(device)
        place = torch.device("cpu")
    # It would keep these bytes, and the weights in them, to start anew with other providers.
    session._model_bytes = None
    return session, place


def run_session(
    session: Any, names: list[str], feed: dict[str, Any], progress: Progress, has_loops: bool
) -> list[Any]:
    """Run a session; in a thread of its own where the work may have to be stopped in its midst."""
    if progress is no_progress and not has_loops:
        values: list[Any] = session.run(names, feed)
        return values
    running = _PassThread(session, names, feed)
    end = time.monotonic() + limits.LOOP_SECONDS
    try:
        while not running.ended.wait(ASK_EVERY_S):
            progress(0, 1, "forward pass")
            if progress is no_progress and time.monotonic() > end:
                raise TimeLimitError(
                    f"A pass of the network ran for more than {limits.LOOP_SECONDS:g} seconds and "
                    f"was ended; its loops may have no end."
                )
    except BaseException:
        running.stop()
        raise
    return running.result()


class _PassThread:
    """A pass in a thread of its own."""

    def __init__(self, session: Any, names: list[str], feed: dict[str, Any]) -> None:
        import onnxruntime

        self.ended = threading.Event()
        self._options = onnxruntime.RunOptions()
        self._values: list[Any] = []
        self._error: Exception | None = None
        # A daemon: one that doesn't stop is left alone, and keeps nobody from leaving.
        threading.Thread(
            target=self._run, args=(session, names, feed), name="neuroscope onnx", daemon=True
        ).start()

    def _run(self, session: Any, names: list[str], feed: dict[str, Any]) -> None:
        try:
            self._values = session.run(names, feed, self._options)
        except Exception as error:  # noqa: BLE001  it is raised where the pass was asked for
            self._error = error
        finally:
            self.ended.set()

    def stop(self) -> None:
        """Stop it between two operations; one that takes long is left alone."""
        self._options.terminate = True
        self.ended.wait(_TIME_TO_END_S)

    def result(self) -> list[Any]:
        """Return its values, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._values


def _choose_device(device: str) -> tuple[torch.device, list[Any]]:
    """Return the device of the engine's arrays, and the providers that run the network."""
    import onnxruntime

    kind, index = parse_device(device, ("auto", "cpu", "cuda", "mps"), "ONNX Runtime")
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if kind == "mps" or (kind == "cuda" and not cuda):
        raise _unavailable(device)
    if kind == "cpu" or not cuda or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu"), ["CPUExecutionProvider"]
    gpu = ("CUDAExecutionProvider", {"device_id": index})
    return device_of_arrays(index), [gpu, "CPUExecutionProvider"]


def _unavailable(device: str) -> NeuroscopeError:
    import onnxruntime

    return NeuroscopeError(
        f"The device “{device}” is not available to this ONNX Runtime "
        f"({onnxruntime.__version__}); choose auto or cpu, or install onnxruntime-gpu."
    )
