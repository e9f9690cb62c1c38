"""Methods that failed the randomisation check, and the warning on what they show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.state.layer_origin import explained_by

if TYPE_CHECKING:
    from napari_neuroscope.engine.evaluation.evaluation import MapResults

MARK = "⚠ "

Check = tuple[str | None, str | None, str, str]
"""What was checked: the digests of the network and the image, the method, and its options."""
Part = tuple[str, str]
"""Which of its maps: the class and the layer."""


def check_of(record: Record) -> Check:
    """Return what an explanation would be checked as, by its record."""
    options = json.dumps(record.options or {}, sort_keys=True, default=str)
    return (record.network_digest, record.image_digest, record.method, options)


class FailedChecks:
    """What failed the randomisation check, by network, image, method and options.

    A check that is passed later takes the doubt back.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._failed: dict[Check, dict[Part, float]] = {}

    def take(self, rows: Iterable[MapResults], layers: Iterable[Any]) -> None:
        """Take the outcome of checks, as far as there is one, and mark the layers it is about."""
        before = {asked: dict(parts) for asked, parts in self._failed.items()}
        for row in rows:
            if row.sanity is None or row.sanity.passed is None:
                continue
            record = row.class_map.explanation.record
            asked = check_of(record)
            part = _part(record, row.class_map.labels)
            if row.sanity.passed:
                self._failed.get(asked, {}).pop(part, None)
            else:
                self._failed.setdefault(asked, {})[part] = row.sanity.similarity
        self._failed = {asked: parts for asked, parts in self._failed.items() if parts}
        if self._failed == before:
            return
        for layer in layers:
            if (origin := explained_by(layer)) is not None:
                _warn(layer, self.about(origin.explanation.record))
        self.changed.emit()

    def about_method(self, network: str, image: str, method: str) -> str:
        """Return what is known against a method on a network and image, by digest; "" for nothing."""
        parts: dict[Part, float] = {}
        for asked, failed in self._failed.items():
            if asked[:3] == (network, image, method):
                parts.update(failed)
        return _in_words(parts)

    def about(self, record: Record) -> str:
        """Return what is known against the maps of a record; "" for nothing."""
        if record.network_digest is None or record.image_digest is None:
            return ""
        failed = self._failed.get(check_of(record), {})
        classes = {target.class_ for target in record.targets}
        layers = set(record.layers) or {""}
        return _in_words(
            {part: n for part, n in failed.items() if part[0] in classes and part[1] in layers}
        )


def _part(record: Record, labels: Mapping[str, str]) -> Part:
    layer = labels.get("layer") or next(iter(record.layers), "")
    return labels.get("class") or record.targets[0].class_, layer


def _in_words(parts: Mapping[Part, float]) -> str:
    if not parts:
        return ""
    where = ", ".join(
        f"{class_}{f' at {layer}' if layer else ''}: {like:.2f}"
        for (class_, layer), like in parts.items()
    )
    return (
        f"Fails the randomisation check on this network and image: its map stays like itself while "
        f"the weights become random ({where}; 1 is unchanged), so it shows little of what was learnt."
    )


def with_warning(layers: Sequence[LayerData], words: str) -> list[LayerData]:
    """Return layer data with a warning in its metadata, and marked in its name; "" for none."""
    if not words:
        return list(layers)
    return [
        (
            array,
            {
                **attributes,
                "name": MARK + attributes["name"],
                "metadata": {KEY: {**attributes["metadata"][KEY], "warning": words}},
            },
            layer_type,
        )
        for array, attributes, layer_type in layers
    ]


def _warn(layer: Any, words: str) -> None:
    """Mark a layer with a warning, or take the mark away."""
    if words == layer.metadata[KEY].get("warning", ""):
        return
    made = {name: value for name, value in layer.metadata[KEY].items() if name != "warning"}
    if words:
        made["warning"] = words
    layer.metadata = {**layer.metadata, KEY: made}
    plain = layer.name.replace(MARK, "")
    layer.name = MARK + plain if words else plain
