"""The metrics of maps that are installed: each file in ``metrics/``, and more by entry point."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from napari_neuroscope.engine.evaluation import metrics as folder
from napari_neuroscope.engine.evaluation.map_metric import MapMetric
from napari_neuroscope.engine.plugin_catalogue import PluginCatalogue, load_entry_points

GROUP = "napari_neuroscope.metrics"
# What tables and docks begin with; any other metric comes after these.
_FIRST = (
    "deletion", "insertion", "pointing_game", "energy_in_mask", "sanity_check", "max_sensitivity",
    "infidelity",
)  # fmt: skip


def _find() -> list[MapMetric]:
    """Return all metrics, in the order in which they are offered."""
    by_name = {metric.name: metric for metric in (*_ours(), *load_entry_points(GROUP, "metric"))}
    first = [name for name in _FIRST if name in by_name]
    return [by_name[name] for name in dict.fromkeys([*first, *by_name])]


def _ours() -> Iterator[MapMetric]:
    for module in iter_modules(folder.__path__, f"{folder.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, MapMetric):
                yield value


metrics = PluginCatalogue("metric", _find)
"""The metrics of maps that are installed."""
