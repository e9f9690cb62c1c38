"""The passes that are kept for further questions, within a number of bytes."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable

from napari_neuroscope.engine.passes.trace import Trace


class TraceCache:
    """Traces by what they are of, the newest kept, within a number of bytes.

    A trace that is kept tells when it has grown.

    Parameters
    ----------
    limit
        The most bytes that are held; a larger trace is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._traces: OrderedDict[Hashable, Trace] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Trace | None:
        """Return a trace, and count it as the newest."""
        with self._lock:
            if key in self._traces:
                self._traces.move_to_end(key)
            return self._traces.get(key)

    def put(self, key: Hashable, trace: Trace) -> None:
        """Keep a trace, and drop others where that takes too much.

        One of a network that may have changed unseen answers no other question.
        """
        if trace.key.state is None:
            return
        # A trace holds its cache weakly: it may be held by a question longer than the network is.
        cache = weakref.ref(self)

        def trim_cache(grown: Trace) -> None:
            if (kept_in := cache()) is not None:
                kept_in.trim(key, grown)

        trace.when_grown = trim_cache
        with self._lock:
            self._traces[key] = trace
            self._trim(key, trace)

    def trim(self, key: Hashable, trace: Trace) -> None:
        """Drop what there is no room for once a trace that is kept has grown."""
        with self._lock:
            if self._traces.get(key) is trace:
                self._trim(key, trace)

    def _trim(self, key: Hashable, trace: Trace) -> None:
        self._traces.move_to_end(key)
        while len(self._traces) > 1 and self.nbytes > self.limit:
            self._traces.popitem(last=False)
        trace.forget_oldest(self.limit)
        if trace.nbytes > self.limit:
            self._traces.pop(key)

    def clear(self) -> None:
        """Drop all traces."""
        with self._lock:
            self._traces.clear()

    @property
    def nbytes(self) -> int:
        """About how much memory the traces hold."""
        return sum(trace.nbytes for trace in self._traces.values())

    def __len__(self) -> int:
        return len(self._traces)
