"""A batch in a process of its own, followed from a dock."""

from __future__ import annotations

import json
import sys
from typing import Any

from qtpy.QtCore import QProcess, QTimer, Signal

from napari_neuroscope.engine.batch.process import COMMAND

_PATIENCE_MS = 1500
# Some times a second are enough to see: each redraws a bar and a table.
_TELL_EVERY_MS = 100


class BatchProcess(QProcess):
    """Runs a batch, and tells what it tells.

    Attributes
    ----------
    told
        What the batch has told of late: the fields of each `BatchEvent`.
    ended
        How it has ended, of the kind "result", or "error" with the type of the error and its
        message.
    """

    told = Signal(list)
    ended = Signal(dict)

    def __init__(self) -> None:
        super().__init__()
        self._heard = b""
        self._told: list[dict[str, Any]] = []
        self._last: dict[str, Any] | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_TELL_EVERY_MS)
        self._soon.timeout.connect(self._tell)
        self._closed = False
        self.readyReadStandardOutput.connect(self._read)
        self.finished.connect(self._conclude)
        self.errorOccurred.connect(self._fail)

    def begin(self, asked: dict[str, Any]) -> None:
        """Start; `asked` is what `napari_neuroscope.engine.batch.process` reads."""
        self.start(sys.executable, list(COMMAND))
        self.write(json.dumps(asked).encode() + b"\n")

    @property
    def runs(self) -> bool:
        """Whether it is going on."""
        return self.state() != QProcess.ProcessState.NotRunning

    def stop(self) -> None:
        """Have it stop at its next step; what is done is kept."""
        self.write(b"stop\n")

    def close_work(self) -> None:
        """End it, at once where it does not end by itself; what is done is kept."""
        self._closed = True
        if self.runs:
            self.closeWriteChannel()
            if not self.waitForFinished(_PATIENCE_MS):
                self.kill()
                self.waitForFinished(_PATIENCE_MS)

    def _read(self) -> None:
        *lines, self._heard = (self._heard + self.readAllStandardOutput().data()).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                # A library has printed something.
                continue
            if not isinstance(event, dict) or "kind" not in event:
                continue
            if event["kind"] in ("result", "error"):
                self._last = event
            else:
                self._told.append(event)
        if self._told and not self._soon.isActive():
            self._soon.start()

    def _tell(self) -> None:
        told, self._told = self._told, []
        if told and not self._closed:
            self.told.emit(told)

    def _fail(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._conclude()

    def _conclude(self, *_: Any) -> None:
        """Tell how it has ended, also where the batch itself told nothing of it."""
        self._read()
        self._tell()
        if self._closed:
            return
        self._closed = True
        lines = self.readAllStandardError().data().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else self.errorString()
        message = (
            f"The batch has ended before its time ({last}); what is done is kept, and running it "
            f"again goes on."
        )
        self.ended.emit(self._last or {"kind": "error", "type": "", "message": message})
