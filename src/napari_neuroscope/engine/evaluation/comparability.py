"""Whether maps can be evaluated together: only those of one question can."""

from __future__ import annotations

import math
from collections.abc import Sequence

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import Record


def why_not_comparable(explanations: Sequence[Explanation]) -> str | None:
    """Return why explanations can't be evaluated together, as a sentence; None where they can."""
    for explanation in explanations[1:]:
        a, b = explanations[0].record, explanation.record
        equal = {
            "another image": a.image_digest == b.image_digest,
            "another network": a.network_digest == b.network_digest,
            "another class, region or score": _same_targets(a, b),
        }
        if differs := next((words for words, is_equal in equal.items() if not is_equal), None):
            return (
                f"“{b.title}” is of {differs} than “{a.title}”; only maps of one question can "
                f"be compared."
            )
    return None


def _same_targets(a: Record, b: Record) -> bool:
    return len(a.targets) == len(b.targets) and all(
        (first.class_, first.region, first.score, first.reduce)
        == (second.class_, second.region, second.score, second.reduce)
        # Regions of one name may have been drawn anew.
        and math.isclose(first.value or 0, second.value or 0, rel_tol=1e-3, abs_tol=1e-6)
        for first, second in zip(a.targets, b.targets, strict=True)
    )
