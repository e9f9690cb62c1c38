"""The metrics of maps that are installed: each file in ``metrics/``, and more by entry point."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from napari_neuroscope.engine.errors import (
    NeuroscopeError,
    NeuroscopeWarning,
    nearest_names,
    shortened,
)
from napari_neuroscope.engine.evaluation import metrics as folder
from napari_neuroscope.engine.evaluation.map_metric import MapMetric

GROUP = "napari_neuroscope.metrics"
# What tables and docks begin with; any other metric comes after these.
_FIRST = (
    "deletion", "insertion", "pointing_game", "energy_in_mask", "sanity_check", "max_sensitivity",
    "infidelity",
)  # fmt: skip


class Metrics(Mapping[str, MapMetric]):
    """All metrics that are installed, by name, in the order in which they are offered."""

    def __init__(self) -> None:
        self._installed: dict[str, MapMetric] | None = None

    def refresh(self) -> None:
        """Look anew for what is installed."""
        self._installed = None

    def _all(self) -> dict[str, MapMetric]:
        if self._installed is None:
            by_name = {metric.name: metric for metric in (*_ours(), *_of_other_packages())}
            first = [name for name in _FIRST if name in by_name]
            self._installed = {name: by_name[name] for name in dict.fromkeys([*first, *by_name])}
        return self._installed

    def __getitem__(self, name: str) -> MapMetric:
        try:
            return self._all()[name]
        except KeyError:
            raise NeuroscopeError(
                f"There is no metric “{name!s:.60}”; {nearest_names(str(name), self._all())}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _ours() -> Iterator[MapMetric]:
    for module in iter_modules(folder.__path__, f"{folder.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, MapMetric):
                yield value


def _of_other_packages() -> Iterator[MapMetric]:
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            yield entry.load()
        except Exception as error:  # noqa: BLE001  what is wrong with one must not stop the rest
            reason = shortened((str(error) or type(error).__name__).splitlines()[0], 200)
            warnings.warn(
                f"The metric “{entry.name}” ({entry.value}) can't be used: {reason}.",
                NeuroscopeWarning,
                stacklevel=2,
            )


metrics = Metrics()
"""The metrics of maps that are installed."""
