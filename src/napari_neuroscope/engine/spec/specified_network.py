"""A network as those see it who prepare images for it: by what is said of it."""

from __future__ import annotations

from typing import Protocol

from napari_neuroscope.engine.spec.model_spec import ModelSpec


class SpecifiedNetwork(Protocol):
    """What has a spec: how images, stacks and ground truth are read for it asks no more."""

    @property
    def spec(self) -> ModelSpec:
        """What it expects and what its outputs mean."""
        ...

    @property
    def channels(self) -> int:
        """How many channels it takes."""
        ...

    @property
    def class_names(self) -> list[str]:
        """The names of its classes, or their numbers where they have none."""
        ...
