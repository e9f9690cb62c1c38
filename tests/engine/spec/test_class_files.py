"""Names of classes from the files in which people have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.spec.class_files import read_classes
from napari_neuroscope.engine.spec.model_spec import ClassSpec, ModelSpec

SKY = ClassSpec(name="Sky", colour=(128, 128, 128))


def read(tmp_path: Path, name: str, text: str) -> tuple[ClassSpec, ...]:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_classes(path)


def names(classes: tuple[ClassSpec, ...]) -> list[str]:
    return [one.name for one in classes]


def test_decoding_files_of_neuroscope(tmp_path: Path) -> None:
    tench = json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]})
    assert names(read(tmp_path, "a.json", tench)) == ["tench", "goldfish"]
    sky = json.dumps({"1": ["Car", [64, 0, 128]], "0": ["Sky", [128, 128, 128]]}, indent="\t")
    assert read(tmp_path, "b.json", sky) == (SKY, ClassSpec(name="Car", colour=(64, 0, 128)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "Sky 128 128 128\nCar 64 0 128\n\n"),
        ("b.txt", "\ufeff128\t128\t128\t\tSky\r\n64\t0\t128\t\tCar\r\n"),
        ("c.csv", "Sky,128,128,128\nCar,64,0,128"),
        ("d.yaml", "- {name: Sky, colour: [128, 128, 128]}\n- {name: Car, color: '#400080'}"),
        ("e.yaml", "classes:\n  - {name: Sky, colour: [128, 128, 128]}\n  - [Car, [64, 0, 128]]"),
        ("f.yaml", "names:\n  0: [Sky, [128, 128, 128]]\n  1: [Car, [64, 0, 128]]\nnc: 2"),
        ("g.json", '{"id2label": {"0": ["Sky", [128, 128, 128, 255]], "1": ["Car", [64, 0, 128]]}}'),
    ],
)  # fmt: skip
def test_names_with_colours(name: str, text: str, tmp_path: Path) -> None:
    assert read(tmp_path, name, text) == (SKY, ClassSpec(name="Car", colour=(64, 0, 128)))


def test_plain_names(tmp_path: Path) -> None:
    assert names(read(tmp_path, "a.txt", "traffic light\n  sky \n\n7\n")) == [
        "traffic light",
        "sky",
        "7",
    ]
    assert names(read(tmp_path, "b.json", '["a", "b"]')) == ["a", "b"]
    assert names(read(tmp_path, "c.json", '{"2": "c", "0": "a"}')) == ["a", "1", "c"]
    synsets = "n01440764 tench, Tinca tinca\nn01443537 goldfish"
    assert names(read(tmp_path, "d.txt", synsets)) == ["tench, Tinca tinca", "goldfish"]


def test_classes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    cranes = {"0": ["n02012849", "crane"], "1": ["n03126707", "crane"], "2": ["n1", "tench"]}
    found = read(tmp_path, "a.json", json.dumps(cranes))
    assert names(found) == ["crane (n02012849)", "crane (n03126707)", "tench"]
    assert names(read(tmp_path, "b.txt", "x\nx\nx (1)")) == ["x (0)", "x (1)′", "x (1)"]
    ModelSpec(classes=found)


# Printed, it would have 10^12 letters.
LAUGHS = "- &a {x: y}\n" + "".join(
    f"- &{chr(98 + n)} {{name: {{{', '.join(f'k{k}: *{chr(97 + n)}' for k in range(10))}}}}}\n"
    for n in range(12)
)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "", "neither a list"),
        ("a.txt", "\n \n", "names none"),
        ("a.json", '{"0": "a", "x": "b"}', "“x” is no number of a class"),
        ("a.json", '{"0": "a", "00": "b"}', "class 0 is named twice"),
        ("a.json", '{"99999999999": "a"}', "more than any network"),
        ("a.json", '{"0": "a"', "it is no JSON"),
        ("a.yaml", "a: !!python/object/apply:os.mkdir [marker]", "no plain YAML"),
        ("a.yaml", "- yes", "put it in quotes"),
        ("a.yaml", LAUGHS, "more than 500,000 values"),
        ("a.yaml", "- {name: {a: b}}", "no text"),
        ("a.yaml", f"- {'a' * 401}", "has 401 letters"),
        ("a.txt", "a" * 1001, "a line of it has more than"),
        ("a.yaml", "- 2001-99-99", "a value that can't be"),
        ("a.yaml", "- {name: a, colour: [1, 2, 300]}", "three numbers of 0..255"),
        ("a.yaml", "- {name: a, colour: red}", "no #rrggbb"),
        ("a.txt", "sky 1 2 300", "three numbers of 0..255"),
        ("a.yaml", "- [a, b, c]", "no name, id and name"),
    ],
)
def test_what_can_not_be_read_is_said(
    name: str, text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NeuroscopeError, match=says) as caught:
        read(tmp_path, name, text)
    assert str(caught.value).count("\n") == 0
    assert not (tmp_path / "marker").exists()


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    with pytest.raises(NeuroscopeError, match="There is no file"):
        read_classes(tmp_path / "missing.txt")
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(NeuroscopeError, match="is a PNG image, no text"):
        read_classes(tmp_path / "image.txt")


@pytest.mark.parametrize(
    ("name", "text"), [("a.txt", "a\n" * 7), ("a.txt", "\n" * 99 + "a\x85" * 7),
                       ("a.yaml", "[a, b, c, d, e, f, g]"), ("a.json", '{"0": "a", "6": "b"}')]
)  # fmt: skip
def test_more_classes_than_any_network_has(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_neuroscope.engine.files.limits.MOST_CLASSES", 6)
    with pytest.raises(NeuroscopeError, match=r"than any network tells apart|no network tells"):
        read(tmp_path, name, text)
    assert len(read(tmp_path, "b.txt", "a\n" * 6)) == 6


def test_letters_that_json_writes_in_pairs(tmp_path: Path) -> None:
    assert names(read(tmp_path, "a.json", json.dumps(["😀", "ü"]))) == ["😀", "ü"]
    with pytest.raises(NeuroscopeError, match=r"a\.json"):
        read(tmp_path, "a.json", '["\\ud83d"]')


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["0", "1", "7", "classes", "name", "colour", "x"]), inner)
    ),
    max_leaves=12,
)


@given(data=trees)
def test_any_data_is_read_or_refused(
    data: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("classes") / "any.yaml"
    path.write_text(yaml.safe_dump(data), "utf-8")
    try:
        found = read_classes(path)
    except NeuroscopeError:
        return
    assert ModelSpec(classes=found).class_names == names(found)


@given(text=st.text(max_size=60), suffix=st.sampled_from([".txt", ".yaml", ".json"]))
def test_any_text_is_read_or_refused(
    text: str, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("classes") / f"any{suffix}"
    path.write_bytes(text.encode("utf-8"))
    try:
        found = read_classes(path)
    except NeuroscopeError:
        return
    assert ModelSpec(classes=found).class_names == names(found)
