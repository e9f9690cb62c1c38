"""Which metrics the table of the dock “Images” shows, and what it shows of a score by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.QtWidgets import QMenu, QPushButton

from napari_neuroscope.engine.evaluation.confusion_metrics import (
    CONFUSION_METRICS,
    metrics_for_task,
)
from napari_neuroscope.session.session import Session
from napari_neuroscope.widgets.images.image_table import in_digits

_AT_FIRST = {
    "segmentation": ("mean_iou", "accuracy"),
    "classification": ("accuracy",),
}


@dataclass(frozen=True)
class MetricColumn:
    """A column of figures: a metric, and of which class where it has one a class."""

    metric: str
    heading: str
    class_index: int | None = None

    def value(self, metrics: dict[str, Any]) -> float:
        """Return the figure of it among all of an image, or of all images."""
        figure = metrics[self.metric]
        return float(figure if self.class_index is None else figure[self.class_index])


class MetricColumns:
    """The columns for the task of the session's network, chosen in the menu of a button.

    Parameters
    ----------
    session
        Its network has a task and classes.
    button
        Gets the menu.
    changed
        Is called when others are chosen in it.
    """

    def __init__(self, session: Session, button: QPushButton, changed: Callable[[], None]) -> None:
        self._session, self._button, self._changed = session, button, changed
        self._chosen: dict[str, tuple[str, ...]] = dict(_AT_FIRST)

    @property
    def task(self) -> str:
        """What the network does."""
        network = self._session.network
        return "segmentation" if network is None else network.spec.task

    def choose(self, *names: str) -> None:
        """Show these metrics, and no others."""
        self._chosen[self.task] = names
        self.offer()

    def offer(self) -> None:
        """Offer the metrics of the network's task in the menu."""
        menu = QMenu(self._button)
        for name, metric in metrics_for_task(self.task).items():
            words = f"{metric.title} of each class" if metric.per_class else metric.title
            action = menu.addAction(words)
            if action is None:
                continue
            action.setCheckable(True)
            action.setChecked(name in self._chosen[self.task])
            action.toggled.connect(lambda on, name=name: self._toggle(name, on))
        self._button.setMenu(menu)

    def _toggle(self, name: str, on: bool) -> None:
        chosen = set(self._chosen[self.task])
        chosen = chosen | {name} if on else chosen - {name}
        self._chosen[self.task] = tuple(
            name for name in metrics_for_task(self.task) if name in chosen
        )
        self._changed()

    def columns(self) -> list[MetricColumn]:
        """Return the columns, one a class for metrics that have a figure for each."""
        network = self._session.network
        columns: list[MetricColumn] = []
        for name in self._chosen[self.task]:
            title = CONFUSION_METRICS[name].title
            if not CONFUSION_METRICS[name].per_class:
                columns.append(MetricColumn(name, title))
            elif network is not None:
                columns += [MetricColumn(name, f"{title}: {label}", number)
                            for number, label in enumerate(network.class_names)]  # fmt: skip
        return columns

    def in_words(self, metrics: dict[str, Any], most: int = 6) -> str:
        """Return the figures of the first columns, for a person."""
        figures = ((column.heading, column.value(metrics)) for column in self.columns()[:most])
        return ", ".join(f"{heading} {in_digits(value)}" for heading, value in figures)
