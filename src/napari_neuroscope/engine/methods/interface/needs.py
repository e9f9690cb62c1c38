"""What a method must be given, and what it asks of a network's framework."""

from __future__ import annotations

from enum import Flag, auto

from napari_neuroscope.engine.frameworks.base import Capability


class Needs(Flag):
    """What a method must be given, and what it asks of the framework."""

    NOTHING = 0
    LAYER = auto()
    TARGET = auto()
    POSITIONS = auto()
    GRADIENTS = auto()
    GUIDED = auto()
    PLANE = auto()
    """A network that looks along two axes."""
    RESUMED = auto()
    """A framework that can go on from the output of a layer."""
    RELEVANCE = auto()
    """A framework that can carry relevance back."""
    ATTENTION = auto()
    """A framework that can tell what attends to what."""

    @property
    def capabilities(self) -> Capability:
        """What the framework must be able to tell."""
        asked = (capability for need, capability in _CAPABILITIES.items() if need in self)
        needed = Capability.SCORES
        for capability in asked:
            needed |= capability
        return needed


_CAPABILITIES = {
    Needs.LAYER: Capability.ACTIVATIONS,
    Needs.GRADIENTS: Capability.GRADIENTS,
    Needs.GUIDED: Capability.GRADIENTS | Capability.GUIDED,
    Needs.RESUMED: Capability.RESUMED,
    Needs.RELEVANCE: Capability.RELEVANCE,
    Needs.ATTENTION: Capability.ATTENTION,
}
_IN_WORDS = {
    Capability.GUIDED: "guided gradients",
    Capability.RESUMED: "passes that begin at a layer",
    Capability.RELEVANCE: "rules for relevance",
}


def in_words(capability: Capability) -> str:
    """Return what a capability tells, as a method needs it."""
    return _IN_WORDS.get(capability, str(capability.name).lower())
