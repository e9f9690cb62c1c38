"""How a network's answers are known to be probabilities, where its layers don't show it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_neuroscope.engine.passes.output.measured_end import CONTRADICTED, MEASURED, TOLD


@dataclass(frozen=True)
class OutputEnd:
    """What is taken for the end of a network, and why.

    Attributes
    ----------
    is_unseen
        Whether neither the layers nor the stated spec say what the network ends in.
    gives_probabilities
        Whether its answers are taken for probabilities.
    is_told
        Whether its package says that they lie in 0..1.
    sums_to_one
        Whether they summed to one as a softmax's do.
    """

    is_unseen: bool
    gives_probabilities: bool
    is_told: bool
    sums_to_one: bool

    @property
    def was_measured(self) -> bool:
        """Whether answers are taken for probabilities since trial inputs were answered so."""
        return self.is_unseen and not self.is_told and self.gives_probabilities

    @property
    def was_told(self) -> bool:
        """Whether answers are taken for probabilities since the network's package says so."""
        return self.is_unseen and self.is_told and self.gives_probabilities

    @property
    def contradicts(self) -> bool:
        """Whether the network's package says that answers lie in 0..1, where they don't."""
        return self.is_unseen and self.is_told and not self.gives_probabilities

    @property
    def is_softmax_by_sum(self) -> bool:
        """Whether answers are taken for those of a softmax since they sum to one."""
        return self.is_unseen and not self.gives_probabilities and self.sums_to_one

    def notes(self) -> tuple[str, ...]:
        """Say what is taken for the end, where that can't be seen."""
        reasons = (
            (self.was_measured, MEASURED),
            (self.was_told, TOLD),
            (self.contradicts, CONTRADICTED),
        )
        return tuple(sentence for holds, sentence in reasons if holds)
