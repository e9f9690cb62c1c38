"""What was measured of the maps of one image: a table with the best of each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.evaluation.class_maps import ClassMap
from napari_neuroscope.engine.evaluation.map_metric import MetricResult
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.evaluation.metrics.deletion_and_insertion import Curve
from napari_neuroscope.engine.evaluation.metrics.sanity_check import SanityCheck
from napari_neuroscope.engine.files.csv_table import write_csv


@dataclass(frozen=True, eq=False)
class MapResults:
    """What the metrics say of one map.

    Attributes
    ----------
    class_map
        The map.
    results
        By metric.
    """

    class_map: ClassMap
    results: Mapping[str, MetricResult] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """The value of each metric; NaN where it has none."""
        return {name: result.value for name, result in self.results.items()}

    @property
    def curves(self) -> dict[str, Curve]:
        """The curves of deletion and insertion, by metric."""
        details = {name: result.detail for name, result in self.results.items()}
        return {name: detail for name, detail in details.items() if isinstance(detail, Curve)}

    @property
    def sanity(self) -> SanityCheck | None:
        """Its maps and likeness with random weights, where the sanity check was asked for."""
        result = self.results.get("sanity_check")
        return result.detail if result is not None else None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What metrics say of the maps of one image.

    Attributes
    ----------
    metrics
        What was measured, in the order in which it was asked for.
    rows
        One for each map: each explanation, class and layer.
    """

    metrics: tuple[str, ...]
    rows: tuple[MapResults, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        return tuple(
            dict.fromkeys(
                n for row in self.rows for result in row.results.values() for n in result.notes
            )
        )

    def best(self, metric: str) -> list[int]:
        """Return which rows are the best by a metric; none where no row has a value."""
        sign = 1 if metrics[metric].better == "higher" else -1
        values = {
            number: sign * row.values[metric]
            for number, row in enumerate(self.rows)
            if not math.isnan(row.values[metric])
        }
        return [number for number, value in values.items() if value == max(values.values())]

    def table(self) -> list[list[Any]]:
        """Return the values as a table, its header first; None where there is none."""
        return [table_header(self.metrics), *map(self._table_row, self.rows)]

    def _table_row(self, row: MapResults) -> list[Any]:
        labels, explanation = row.class_map.labels, row.class_map.explanation
        values = [row.values[metric] for metric in self.metrics]
        return [
            explanation.method,
            labels.get("class", ""),
            labels.get("layer") or ", ".join(explanation.record.layers),
            *(None if math.isnan(value) else value for value in values),
            *(row.results[name].passed for name in _with_verdict(self.metrics)),
        ]

    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the table as CSV in UTF-8, whole or not at all."""
        write_csv(path, self.table(), overwrite=overwrite)


def table_header(names: Sequence[str]) -> list[str]:
    """Return what heads the columns of a table of these metrics."""
    verdicts = [f"{metrics[name].title.lower()} passed" for name in _with_verdict(names)]
    return ["method", "class", "layer", *names, *verdicts]


def _with_verdict(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name in metrics and metrics[name].verdict]
