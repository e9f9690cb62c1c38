"""The answers for all instances, as features of their layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_neuroscope.engine.explain.instances import InstanceAnswer

# The columns are named so that no column of the user's has the same name.
_OURS = "Neuroscope "


def add_table(layer: Any, answers: Sequence[InstanceAnswer]) -> None:
    """Add the answers to the features of a layer of labels, beside the columns that it has.

    Parameters
    ----------
    layer
        The labels. Columns of an earlier table of ours are replaced, all others kept.
    answers
        One a label.
    """
    import pandas

    table = pandas.DataFrame({
        "index": [row.label for row in answers],
        f"{_OURS}class": [row.class_ for row in answers],
        f"{_OURS}probability": [row.probability for row in answers],
        f"{_OURS}mean score": [row.mean_score for row in answers],
        f"{_OURS}share inside": [row.inside for row in answers],
        f"{_OURS}share near": [row.near for row in answers],
        f"{_OURS}channels": [", ".join(map(str, row.channels)) for row in answers],
    })  # fmt: skip
    kept = layer.features.drop(columns=[c for c in layer.features if str(c).startswith(_OURS)])
    if "index" not in kept:
        # napari's rule: without this column the row's number is the label.
        kept = kept.assign(index=range(len(kept)))
    if not (kept["index"] == 0).any():
        table = pandas.concat([pandas.DataFrame({"index": [0]}), table], ignore_index=True)
    layer.features = kept.merge(table, on="index", how="outer")
