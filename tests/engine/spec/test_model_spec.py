"""ModelSpec: short to write, strict, and the same after it was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_neuroscope as ns
from napari_neuroscope.engine.files.reading.plain_data import refuse_large


def test_what_an_rgb_network_needs_is_short() -> None:
    spec = ns.ModelSpec.model_validate(
        {
            "task": "segmentation",
            "classes": ["sky", "car"],
            "input": {"normalization": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}},
        }
    )
    assert spec.class_names == ["sky", "car"]
    assert spec.input.space == "yx"
    assert spec.input.normalization.mean == (0.5, 0.4, 0.3)


def test_classes_are_names_or_names_with_colours() -> None:
    spec = ns.ModelSpec.parse(
        {
            "classes": [
                "sky",
                {"name": "car", "colour": [1, 2, 3]},
                {"name": "sea", "color": [4, 5, 6]},
            ]
        }
    )
    assert spec.class_names == ["sky", "car", "sea"]
    assert [spec.colour(1), spec.colour(2)] == [(1, 2, 3), (4, 5, 6)]


def test_a_name_that_yaml_takes_for_a_truth_value_is_asked_for_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("classes: [yes, no]")
    with pytest.raises(ns.NeuroscopeError, match="put it in quotes"):
        ns.ModelSpec.load(path)
    path.write_text("classes: ['yes', 'no', 3]")
    assert ns.ModelSpec.load(path).class_names == ["yes", "no", "3"]


def test_colours_left_out_differ_from_each_other() -> None:
    spec = ns.ModelSpec()
    colours = {spec.colour(n) for n in range(40)}
    assert len(colours) == 40
    assert all(0 <= part <= 255 for colour in colours for part in colour)


@pytest.mark.parametrize("colour", [[256, 0, 0], [0, -1, 0], [0, 0]])
def test_a_colour_is_three_numbers_of_a_byte(colour: list[int]) -> None:
    with pytest.raises(ns.NeuroscopeError, match="colour"):
        ns.ModelSpec.parse({"classes": [{"name": "car", "colour": colour}]})


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"task": "detection"}, "task"),
        ({"tsak": "segmentation"}, "tsak"),
        ({"classes": ["a", "b", "a"]}, "two classes are named “a”"),
        ({"input": {"normalization": "imagnet"}}, "imagenet"),
        ({"input": {"normalization": {"mean": [0.5], "std": [0.0]}}}, "std must be above zero"),
        ({"input": {"normalization": {"percentile": [99, 1]}}}, "percentile needs 0 <= low < high"),
        ({"input": {"normalization": {"mean": [0.5], "per_image": True}}}, "not several"),
        ({"input": {"axes": "bcyxx"}}, "bcyxx"),
        ({"input": {"axes": "bcq"}}, "bcq"),
        ({"input": {"size": [224]}}, "size has 1 numbers"),
        ({"input": {"size": [0, 224]}}, "at least 1"),
        ({"input": {"value_range": [1, 1]}}, "value_range"),
        ({"input": {"value_range": [2, 1]}}, "value_range"),
        ({"input": {"channels": 0}}, "channels"),
        ({"input": {"order": "rbg"}}, "order"),
        ("segmentation", "spec"),
        ([], "spec"),
        ({"input": {"size": [None, 3]}}, "“input.size.0”: Input should be a valid integer"),
        ({"input": {"size": [float("inf"), 3]}}, "“input.size.0”"),
        ({"input": {"size": [3, 1 << 40]}}, "less than or equal to"),
        ({"input": {"size": {"min": 1 << 40}}}, "less than or equal to"),
        ({"input": {"value_range": [0, float("inf")]}}, "“input.value_range”"),
        ({"input": {"normalization": {"mean": [float("nan")]}}}, "finite number"),
        ({"pixel_size": [float("nan")]}, "finite number"),
        ({"classes": [10**5000]}, "a number of very many digits"),
        ({"ignore_label": 10**5000}, "less than"),
        ({"classes": ["a" * 1001]}, "at most 1000 characters"),
        ({"classes": [str(n) for n in range(50_001)]}, "50,001 classes, and 50,000 are the most"),
        ({"input": {"channels": 10**9}}, "less than or equal to"),
        ({"x" * 200_000: 1, 3: 4, None: 5}, "…”: Extra inputs are not permitted (and 2 more)"),
    ],
)
def test_mistakes_are_one_sentence(raw: object, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.ModelSpec.parse(raw)
    sentence = str(refusal.value)
    assert says in sentence
    assert "\n" not in sentence
    assert len(sentence) < 400


def nested(depth: int, inner: object, key: str | None = None) -> object:
    for _ in range(depth):
        inner = [inner] if key is None else {key: inner}
    return inner


@pytest.mark.parametrize(
    "raw",
    [
        {"task": nested(5000, 1)},
        {"input": {"normalization": nested(5000, {}, "then")}},
        {"input": {"normalization": nested(21, {}, "then")}},
        {"classes": [nested(90, 1)] * 10_000},
    ],
)
def test_what_is_too_deep_or_too_much_is_one_sentence(raw: object) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.ModelSpec.parse(raw)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_as_many_classes_as_may_be_are_read_back() -> None:
    classes = [{"name": f"class {n}", "colour": [n % 256, 0, 1]} for n in range(50_000)]
    spec = ns.ModelSpec.parse({"classes": classes})
    refuse_large(spec.model_dump(mode="json"))


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    with pytest.raises(ns.NeuroscopeError, match=r"There is no file .*none\.yaml"):
        ns.ModelSpec.load(missing)
    for text in ("task: [segmentation", "\tx: 1"):
        (tmp_path / "broken.yaml").write_text(text)
        with pytest.raises(ns.NeuroscopeError, match=r"broken\.yaml can't be read: it is no plain"):
            ns.ModelSpec.load(tmp_path / "broken.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x93")
    with pytest.raises(ns.NeuroscopeError, match=r"binary\.yaml"):
        ns.ModelSpec.load(tmp_path / "binary.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ns.NeuroscopeError, match=r"empty\.yaml"):
        ns.ModelSpec.load(tmp_path / "empty.yaml")


_LETTERS = st.characters(exclude_categories=["Cs"])


_NAMES = st.lists(
    st.text(_LETTERS, min_size=1, max_size=20) | st.sampled_from(["no", "~", "1", " a ", "a: b"]),
    unique=True,
    max_size=5,
)


_FLOATS = st.floats(0.01, 10, allow_nan=False)


@given(
    classes=_NAMES,
    task=st.sampled_from(["classification", "segmentation"]),
    size=st.sampled_from([None, (224, 224), (7, 512), {"min": 32, "step": 16}]),
    resize=st.sampled_from(["stretch", "fit", "crop", "pad"]),
    value_range=st.one_of(
        st.sampled_from(["auto", "data"]), st.tuples(st.floats(-9, 0), st.floats(1, 9))
    ),
    normalization=st.one_of(
        st.sampled_from(["imagenet", "caffe", "per_image", "percentile"]),
        st.builds(lambda m, s: {"mean": [m], "std": [s]}, _FLOATS, _FLOATS),
    ),
    ignore_label=st.none() | st.integers(0, 255),
)
def test_a_saved_spec_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, **drawn: object
) -> None:
    of_input = {k: drawn.pop(k) for k in ("size", "resize", "value_range", "normalization")}
    spec = ns.ModelSpec.parse({**drawn, "input": of_input})
    path = tmp_path_factory.mktemp("spec") / "model.neuroscope.yaml"
    spec.save(path)
    assert ns.ModelSpec.load(path) == spec


def test_only_what_was_said_is_saved() -> None:
    assert ns.ModelSpec().to_yaml() == "task: classification\n"


@pytest.mark.parametrize(
    ("which", "index"), [("car", 1), ("CAR", 1), (1, 1), ("1", 1), ("7", 2), ("Ä", 3)]
)
def test_class_by_name_or_index(which: str | int, index: int) -> None:
    spec = ns.ModelSpec.parse({"classes": ["sky", "car", "7", "ä"]})
    assert spec.class_index(which, 4) == index


def test_names_that_differ_in_case_alone_need_the_right_one() -> None:
    spec = ns.ModelSpec.parse({"classes": ["Car", "car", "bus"]})
    assert [spec.class_index("Car", 3), spec.class_index("car", 3)] == [0, 1]
    with pytest.raises(ns.NeuroscopeError, match="no class “CAR”"):
        spec.class_index("CAR", 3)


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("cra", "did you mean “car”"),
        ("zzz", "choose from “sky”, “car”"),
        (2, "0..1"),
        (-1, "0..1"),
        ("-1", "0..1"),
        (0.5, "0.5"),
        (True, "True"),
    ],
)
def test_unknown_classes(which: str | int, says: str) -> None:
    spec = ns.ModelSpec.parse({"classes": ["sky", "car"]})
    with pytest.raises(ns.NeuroscopeError) as refusal:
        spec.class_index(which, 2)
    assert says in str(refusal.value)


def test_classes_without_names_are_asked_for_by_index() -> None:
    with pytest.raises(ns.NeuroscopeError, match=r"give an index of 0\.\.2"):
        ns.ModelSpec().class_index("car", 3)
    assert ns.ModelSpec().class_name(2) == "2"
