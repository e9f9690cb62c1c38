"""The table of a batch, as CSV and as Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
from skimage.io import imread

import napari_neuroscope as ns


def test_the_summary_has_a_row_for_each_image_in_natural_order(
    recipe: Path, images: Path, whole: Path
) -> None:
    table = pandas.read_parquet(whole / "summary.parquet")
    assert list(table["image"]) == [f"cell{n}.png" for n in range(5)]
    pandas.testing.assert_frame_equal(
        table, pandas.read_csv(whole / "summary.csv", keep_default_na=False,
                               na_values={"map sum": [""]}), check_dtype=False)  # fmt: skip
    made = ns.Recipe.load(recipe)
    network = made.load_network(device="cpu", trust=True)
    image = imread(images / "cell3.png")
    found, predicted = made.run(network, image), network.predict(image)
    row = table.iloc[3]
    assert row["logit"] == found.provenance["targets"][0]["value"]
    assert row["share: bright"] == (predicted.labels == 1).mean()
    assert row["map most"] == found.values.max()
    assert row["map sum"] == pytest.approx(found.values.sum(), rel=1e-6)
    assert row["shape"] == "12 × 10"
