"""Record: how an explanation was made, all that is needed to make it again.

What it says is written into files and layers as plain JSON (`Record.to_json`), and read back from them
(`Record.from_json`): what a newer version writes there is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from napari_neuroscope.engine.errors import in_digits

_MASK = re.compile(r"(, )?mask [0-9a-f]{12}, \d+ pixels$")
_REGIONS = {
    "everywhere": "",
    "predicted": " where it is predicted",
    "ground_truth": " where it truly is",
}
"""What is added of a region that has a name."""


@dataclass(frozen=True)
class _Part:
    """What is written as a mapping; `more` is what was read and has no field here."""

    more: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return the part that a mapping of plain JSON says."""
        names = {_key(part.name): part.name for part in fields(cls) if part.name != "more"}
        read = {names[key]: value for key, value in said.items() if key in names}
        more = {key: value for key, value in said.items() if key not in names}
        return cls(**read, more=more)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, without what is not known."""
        said = {_key(part.name): getattr(self, part.name) for part in fields(self)}
        more = said.pop("more")
        told = {key: _plain(value) for key, value in said.items() if value is not None}
        return {**told, **{key: _plain(value) for key, value in more.items()}}


@dataclass(frozen=True)
class TargetRecord(_Part):
    """Whose score was explained.

    Attributes
    ----------
    class_
        The class by name; in files “class”.
    index
        Its number; None where it is another on each plane of a stack.
    region
        The region in words, such as “everywhere”.
    score, reduce
        As of a `Target`.
    value
        T, the scalar that was explained; None where it is not finite.
    probability
        The mean probability of the class over the region; None in records of before.
    positions
        How many positions of the network's output the region has; None of a classifier.
    """

    class_: str = ""
    index: int | None = None
    region: str | None = None
    score: str | None = None
    reduce: str | None = None
    value: float | None = None
    probability: float | None = None
    positions: int | None = None

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return the target that a mapping says; a class may be told by its number."""
        return super().from_json({**said, "class": str(said["class"])})

    @property
    def mean_score(self) -> float | None:
        """The score as a mean over the region, which doesn't grow with its size."""
        if self.value is None or self.reduce == "mean" or not self.positions:
            return self.value
        return self.value / self.positions

    def in_words(self) -> str:
        """Return how sure the network is, such as “nucleus: 94 % on average over 1,719 pixels”."""
        if self.probability is None:
            where = "" if self.region in (None, "everywhere") else f" ({self.region})"
            return f"{self.score_in_words} of {self.class_}{where}: {in_digits(self.value)}"
        said = f"{self.class_}: {100 * self.probability:.3g} %"
        if self.positions is None:
            return said
        # Which pixels a mask has is for the record; people know it by its name.
        region = _MASK.sub("", str(self.region))
        where = _REGIONS.get(region, f" ({region})" if region else "")
        if self.positions == 1:
            return f"{said}{where}"
        pixels = f"all {self.positions:,}" if region == "everywhere" else f"{self.positions:,}"
        return f"{said} on average over {pixels} pixels{where}"

    def sum_in_words(self) -> str:
        """Return T in words, such as “Logit, summed over the region: 110,723”."""
        how = {"sum": ", summed over the region", "mean": ", mean over the region"}
        over = how.get(str(self.reduce), "") if (self.positions or 1) > 1 else ""
        number = "not finite" if self.value is None else f"{self.value:,.6g}"
        if self.value is not None and 1000 <= abs(self.value) < 1e12:
            number = f"{self.value:,.0f}"
        return f"{self.class_}, {self.score_in_words}{over}: {number}"

    @property
    def score_in_words(self) -> str:
        """The score as people say it, such as “log probability”."""
        return str(self.score).replace("_", " ")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON; of a target with a score, also an index or value of null."""
        said = super().to_json()
        if self.score is not None:
            said = {**said, "index": self.index, "value": self.value}
        return said


@dataclass(frozen=True)
class NetworkRecord(_Part):
    """Which network was explained.

    Attributes
    ----------
    name
        What people call it.
    framework, device
        Of what kind it is, and where it ran.
    digest
        The hash of its weights.
    source, factory, arguments
        What `load` makes it anew from.
    """

    name: str = ""
    framework: str | None = None
    digest: str | None = None
    device: str | None = None
    source: str | None = None
    factory: str | None = None
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ImageRecord(_Part):
    """Which image was explained: its shape and type, and the hash of its values."""

    shape: Sequence[int] = ()
    dtype: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class PlanesRecord(_Part):
    """Which planes of a stack were explained.

    Attributes
    ----------
    axes
        The axes of the stack.
    first, count, step
        Which of their steps, one number an axis.
    indices, classes, values
        Of each plane that is done: its index, and the class and T of each target.
    """

    axes: Sequence[str] = ()
    first: Sequence[int] | None = None
    count: Sequence[int] | None = None
    step: Sequence[int] | None = None
    indices: Sequence[Sequence[int]] | None = None
    classes: Sequence[Sequence[int]] | None = None
    values: Sequence[Sequence[float | None]] | None = None


@dataclass(frozen=True)
class Unfinished(_Part):
    """How far a map came that is not finished: `done` of `total` passes, planes or tiles."""

    done: int = 0
    total: int = 0
    of: str | None = None

    def in_words(self) -> str:
        """Return it in words, such as “312 of 2,000 passes”."""
        return f"{self.done:,} of {self.total:,} {self.of or 'passes'}"


@dataclass(frozen=True)
class Record(_Part):
    """How an explanation was made.

    Attributes
    ----------
    method, title, reference
        The method by name, what people call it, and where it is published.
    options
        All of its options.
    layers, layer_shapes
        The layers, and the shape (channel, *space) of each one's output.
    targets
        Whose scores.
    network, image
        Of which network and image.
    output
        Which of several outputs was explained, where it was not stated.
    spec
        What the network was taken to expect and to mean.
    versions
        With what it was made.
    notes
        What a reader should know, a clause each.
    table
        What a table without positions says.
    tiling, planes, crop
        How the image was cut into tiles, which planes of a stack, and which part; None: it was not.
    unfinished
        How far it came; None: it is finished.
    first, second
        The records of the two maps that a difference is of.
    of
        The records of the maps that a consensus is of.
    recipe, no_recipe
        The recipe that makes it again, or why there is none; None before it is written.
    """

    method: str = ""
    title: str = ""
    reference: str | None = None
    options: Mapping[str, Any] | None = None
    layers: tuple[str, ...] = ()
    layer_shapes: Sequence[Sequence[int]] | None = None
    targets: tuple[TargetRecord, ...] = ()
    network: NetworkRecord | None = None
    output: Mapping[str, Any] | None = None
    spec: Mapping[str, Any] | None = None
    image: ImageRecord | None = None
    versions: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    table: Mapping[str, Any] | None = None
    tiling: Mapping[str, Any] | None = None
    planes: PlanesRecord | None = None
    crop: Sequence[Sequence[int]] | None = None
    unfinished: Unfinished | None = None
    first: Record | None = None
    second: Record | None = None
    of: tuple[Record, ...] | None = None
    recipe: Mapping[str, Any] | None = None
    no_recipe: str | None = None

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return the record that plain JSON says.

        Raises
        ------
        KeyError, TypeError
            Where it is none.
        """
        for name in ("method", "title", "layers", "targets", "notes"):
            said[name]
        parts = {
            name: read(said[name])
            for name, read in _READ.items()
            if name in said and said[name] is not None
        }
        return super().from_json({**said, **parts})

    def with_notes(self, *notes: str) -> Self:
        """Return it with more notes; none is told twice."""
        return replace(self, notes=tuple(dict.fromkeys([*self.notes, *notes])))

    @property
    def image_digest(self) -> str | None:
        """The hash of the image's values; None where it is not known."""
        return None if self.image is None else self.image.digest

    @property
    def network_digest(self) -> str | None:
        """The hash of the network's weights; None where it is not known."""
        return None if self.network is None else self.network.digest

    @property
    def stack_axes(self) -> tuple[str, ...]:
        """The axes of the stack that it is of; () where it is of none."""
        return () if self.planes is None else tuple(self.planes.axes)

    @property
    def is_part(self) -> bool:
        """Whether it is of a part of the image alone."""
        return self.crop is not None or "window" in (self.tiling or {})

    @property
    def full_title(self) -> str:
        """What it is of: the class, the method and the layer; the class first, as lists are narrow."""
        parts = []
        classes = list(dict.fromkeys(target.class_ for target in self.targets))
        if classes:
            parts.append(classes[0] if len(classes) == 1 else f"{len(classes)} classes")
        parts.append(self.title)
        if self.layers:
            parts.append(self.layers[0] if len(self.layers) == 1 else f"{len(self.layers)} layers")
        if self.unfinished is not None:
            # Short, for the list of layers is narrow.
            parts[-1] += f" ({self.unfinished.done:,} of {self.unfinished.total:,})"
        return " · ".join(parts)


_READ: dict[str, Callable[[Any], Any]] = {
    "layers": tuple,
    "notes": tuple,
    "targets": lambda targets: tuple(map(TargetRecord.from_json, targets)),
    "network": NetworkRecord.from_json,
    "image": ImageRecord.from_json,
    "planes": PlanesRecord.from_json,
    "unfinished": Unfinished.from_json,
    "first": Record.from_json,
    "second": Record.from_json,
    "of": lambda records: tuple(map(Record.from_json, records)),
}


def _key(name: str) -> str:
    # Python has “class” for itself.
    return name.rstrip("_")


def _plain(value: Any) -> Any:
    if isinstance(value, _Part):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
