"""Specs, recipes and lists of classes: texts that unfold, never end, name functions or other computers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.explain.recipe import Recipe, recipe_in
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.networks.load import load
from napari_neuroscope.engine.spec.class_files import read_classes
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.samples.architectures import CellClassifier

MB = 1 << 20
UNET = "napari_neuroscope.samples.architectures:CellClassifier"

Write = Callable[[Path, str | bytes], Opener]


def prepare(base: Path) -> None:
    """Write weights that recipes may be of."""
    torch.manual_seed(0)
    torch.save(CellClassifier().state_dict(), base / "weights.pt")


def weights(folder: Path) -> Path:
    path = folder / "weights.pt"
    path.write_bytes((folder.parent / "base" / "weights.pt").read_bytes())
    return path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def spec(folder: Path, content: str | bytes) -> Opener:
    path = written(folder / "net.neuroscope.yaml", content)
    return lambda: ModelSpec.load(path)


def classes(folder: Path, content: str | bytes, suffix: str = ".yaml") -> Opener:
    path = written(folder / f"classes{suffix}", content)
    return lambda: len(read_classes(path))


def recipe(folder: Path, content: str | bytes) -> Opener:
    """Write a recipe, and open its network as a window does that it is dropped into."""
    path = written(folder / f"mine{SUFFIX}", content)

    def opening() -> Any:
        read = Recipe.load(path)
        read.as_python(), read.as_command()
        return read.fitted(None, device="cpu")

    return opening


def plain(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the plain data of a recipe that is right but for changes."""
    network = {"source": "demo:blood-cells", **changes.pop("network", {})}
    spec = {"task": "classification", "input": {"size": [32, 32]}}
    return {"network": network, "spec": spec, "method": "saliency", **changes}


def asking(folder: Path, **changes: Any) -> Opener:
    return recipe(folder, yaml.safe_dump(plain(folder, **changes), sort_keys=False))


def unfolding(key: str, levels: int = 9, each: int = 9, inner: str = "x") -> str:
    """Return YAML of a few hundred letters whose last list has 9^9 parts."""
    lines = [f"a0: &a0 [{', '.join([inner] * each)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * each)}]" for n in range(1, levels)]
    return "\n".join(lines) + f"\n{key}: *a{levels - 1}\n"


# --- in each kind of text -------------------------------------------------------------------------

KINDS: dict[str, Write] = {"spec": spec, "recipe": recipe, "classes": classes}


def in_each(name: str, content: Callable[[Path], str | bytes], *, seconds: float = 5) -> None:
    """Make a case of a text for each kind of file that is read as YAML."""
    for kind, write in KINDS.items():

        def build(folder: Path, write: Write = write) -> Opener:
            return write(folder, content(folder))

        globals()[f"{kind}_{name}"] = case(seconds=seconds)(build)


in_each("that_unfolds", lambda _: unfolding("classes"))
in_each("of_merged_mappings", lambda _: "a0: &a0 {b: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)))  # fmt: skip
in_each("that_holds_itself", lambda _: "classes: &n [a, *n]\n")
in_each("of_deep_lists", lambda _: "classes: " + "[" * 900 + "]" * 900)
in_each("of_very_deep_lists", lambda _: "[" * 200_000)
in_each("of_deep_indents", lambda _: "\n".join(" " * n + "a:" for n in range(800)))
in_each("with_a_day_that_is_none", lambda _: "classes: 2001-99-99\n")
in_each("of_a_number_in_base_60", lambda _: f"classes: 1{':1' * 500_000}\n")
in_each("of_a_number_without_end", lambda _: f"classes: 0x{'f' * 1_000_000}\n")
in_each("that_calls", lambda f: f"!!python/object/apply:os.mkdir ['{marker(f)}']\n")
in_each("that_makes_a_module", lambda _: "classes: !!python/module:antigravity\n")
in_each("of_a_key_that_is_a_list", lambda _: "? [a, b]\n: 1\n")
in_each("that_is_a_picture", lambda _: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
in_each("in_another_encoding", lambda _: "classes: [ä]".encode("utf-16"))
in_each("of_one_endless_word", lambda _: "classes:" + "a" * (3 * MB))


def _of_many_values(folder: Path) -> str:
    limits.MOST_NODES = 20_000
    return f"classes: [{'a,' * 100_000}a]"


def _of_many_bytes(folder: Path) -> str:
    limits.MOST_TEXT = MB
    return "# " + "a" * (2 * MB)


in_each("of_many_values", _of_many_values)
in_each("of_many_bytes", _of_many_bytes)


# --- specs ----------------------------------------------------------------------------------------


@case(seconds=5)
def spec_of_as_many_classes_as_the_text_holds(folder: Path) -> Opener:
    return spec(folder, "classes: [" + ",".join(map(str, range(60_000))) + "]")


@case(seconds=5)
def spec_of_names_that_are_one(folder: Path) -> Opener:
    return spec(folder, "classes: [" + ",".join([*map(str, range(20_000)), "7"]) + "]")


@case(seconds=5)
def spec_of_sizes_that_are_none(folder: Path) -> Opener:
    return spec(folder, "input: {size: [null, .inf]}")


@case(seconds=5)
def spec_of_a_size_of_terabytes(folder: Path) -> Opener:
    return spec(folder, "input: {size: [99999999999, 99999999999]}")


@case(seconds=5)
def spec_of_values_that_are_no_numbers(folder: Path) -> Opener:
    return spec(folder, "input: {value_range: [-.inf, .nan], normalization: {mean: .nan}}")


@case(seconds=5)
def spec_of_many_steps(folder: Path) -> Opener:
    return spec(folder, f"input: {{normalization: {'{then: ' * 90}{{}}{'}' * 91}")


@case(seconds=5)
def spec_of_many_mistakes(folder: Path) -> Opener:
    return spec(
        folder, "".join(f"k{n}: [{n}, \x1b[31m]\n".replace("\x1b", "") for n in range(50_000))
    )


@case(seconds=5)
def spec_that_is_a_pipe(folder: Path) -> Opener:
    os.mkfifo(folder / "weights.neuroscope.yaml")
    path = weights(folder)
    return lambda: load(path, factory=UNET)


@case(seconds=5)
def spec_that_is_a_folder(folder: Path) -> Opener:
    (folder / "weights.neuroscope.yaml").mkdir()
    path = weights(folder)
    return lambda: load(path, factory=UNET)


@case(seconds=5)
def spec_that_never_ends(folder: Path) -> Opener:
    (folder / "a.yaml").symlink_to("/dev/zero")
    return lambda: ModelSpec.load(folder / "a.yaml")


@case(seconds=5)
def spec_that_is_a_link_to_itself(folder: Path) -> Opener:
    (folder / "a.yaml").symlink_to(folder / "a.yaml")
    return lambda: ModelSpec.load(folder / "a.yaml")


# --- recipes --------------------------------------------------------------------------------------


@case("trust", seconds=5)
def recipe_that_calls_the_system(folder: Path) -> Opener:
    called = {"factory": "os:mkdir", "arguments": {"path": str(marker(folder))}}
    return asking(folder, network={"source": weights(folder).name, **called})


@case("trust", seconds=5)
def recipe_that_calls_what_is_installed(folder: Path) -> Opener:
    called = {"factory": "torch:save", "arguments": {"obj": 1, "f": str(marker(folder))}}
    return asking(folder, network={"source": weights(folder).name, **called})


@case("trust", seconds=5)
def recipe_that_calls_what_lies_beside_it(folder: Path) -> Opener:
    written(folder / "nets.py", f"open({str(marker(folder))!r}, 'w')")
    opener = asking(folder, network={"source": weights(folder).name, "factory": "nets:Net"})

    def opening() -> Any:
        import sys

        sys.path.insert(0, "")
        return opener()

    return opening


# Trials start a process that imports PyTorch, which takes its time where others work as well.
@case("trust", seconds=60)
def recipe_of_a_class_without_end(folder: Path) -> Opener:
    limits.TRIAL_MEMORY, limits.TRIAL_SECONDS = 100 * MB, 3
    arguments = {"num_encoder_layers": 10**8, "d_model": 8, "nhead": 1}
    called = {"factory": "torch.nn:Transformer", "arguments": arguments}
    return asking(folder, network={"source": weights(folder).name, **called})


@case("trust", seconds=5)
def recipe_with_words_that_look_trusted(folder: Path) -> Opener:
    said = "\n\n<h1>Signed by bioimage.io</h1><!--\u202e\x1b[2J" + " " * 3000
    called = {"factory": "os:system", "arguments": {"command": f"mkdir {marker(folder)}{said}"}}
    return asking(folder, network={"source": weights(folder).name, **called})


@case("opens", seconds=60)
def recipe_of_a_class_of_networks(folder: Path) -> Opener:
    # It is what all the others pretend to be.
    return asking(folder, network={"source": weights(folder).name, "factory": UNET})


@case("trust", seconds=5)
def recipe_of_a_pickle(folder: Path) -> Opener:
    torch.save({"net": nn.Linear(1, 1), "run": _Calls(marker(folder))}, folder / "net.pt")
    return asking(folder, network={"source": "net.pt"})


class _Calls:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@case(seconds=5)
def recipe_of_a_pipe(folder: Path) -> Opener:
    os.mkfifo(folder / "net.pt")
    return asking(folder, network={"source": "net.pt", "sha256": "0" * 64})


@case(seconds=5)
def recipe_of_a_device(folder: Path) -> Opener:
    return asking(folder, network={"source": "/dev/zero", "sha256": "0" * 64})


@case(seconds=5)
def recipe_of_the_whole_disk(folder: Path) -> Opener:
    return asking(folder, network={"source": "/", "sha256": "0" * 64})


@case(seconds=5)
def recipe_of_another_computer(folder: Path) -> Opener:
    return asking(folder, network={"source": "//evil.example/share/net.pt"})


@case(seconds=5)
def recipe_of_another_computer_as_windows_says_it(folder: Path) -> Opener:
    return asking(folder, network={"source": r"\\evil.example\share\net.pt", "sha256": "0" * 64})


@case(seconds=5)
def recipe_of_a_name_that_can_not_be(folder: Path) -> Opener:
    return asking(folder, network={"source": "a\0b" + "c" * 400})


@case(seconds=5)
def recipe_of_options_without_end(folder: Path) -> Opener:
    inner = yaml.safe_dump(plain(folder)) + "options:\n"
    lines = [f"  a0: &a0 [{', '.join(['1'] * 9)}]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return recipe(folder, inner + "\n".join(lines))


@case(seconds=5)
def recipe_of_a_mapping_as_option(folder: Path) -> Opener:
    return asking(folder, options={"baseline": {"a": [{"b": "c"}] * 50}})


@case(seconds=5)
def recipe_of_a_newer_kind(folder: Path) -> Opener:
    more = {f"new {n}\x1b": n for n in range(30_000)}
    return asking(folder, format=7, **more, targets=[{"new": 1}])


@case(seconds=5)
def recipe_of_an_endless_format(folder: Path) -> Opener:
    return asking(folder, format=10**900)


@case(seconds=5)
def recipe_that_writes_elsewhere(folder: Path) -> Opener:
    return asking(folder, outputs=[f"/../{marker(folder).name}.tif"])


@case("trust", seconds=5)
def recipe_in_a_record(folder: Path) -> Opener:
    called = {"factory": "os:mkdir", "arguments": {"path": str(marker(folder))}}
    network = {"source": str(weights(folder)), **called}
    record = json.loads(json.dumps({"recipe": plain(folder, network=network)}))
    return lambda: recipe_in(record).load_network()


@case(seconds=5)
def recipe_in_a_record_that_is_deep(folder: Path) -> Opener:
    inner: Any = []
    for _ in range(900):
        inner = [inner]
    record = {"recipe": plain(folder, options={"a": inner})}

    def opening() -> Any:
        return recipe_in(record)

    return _naming(folder, opening)


def _naming(folder: Path, opening: Opener) -> Opener:
    """A record has no name of its own: a file's is asked for in what is said."""
    from napari_neuroscope.engine.errors import NeuroscopeError

    def named() -> Any:
        try:
            return opening()
        except NeuroscopeError as error:
            raise NeuroscopeError(f"“{folder.name}”: {error}") from error

    return named


# --- lists of classes -----------------------------------------------------------------------------


@case(seconds=5)
def classes_of_more_lines_than_classes(folder: Path) -> Opener:
    return classes(folder, "a\n" * 2_000_000, ".txt")


@case(seconds=5)
def classes_of_empty_lines(folder: Path) -> Opener:
    return classes(folder, "\n \r" * 2_000_000, ".txt")


@case(seconds=5)
def classes_of_one_line(folder: Path) -> Opener:
    return classes(folder, "a " * 2_000_000, ".csv")


@case(seconds=5)
def classes_of_deep_json(folder: Path) -> Opener:
    return classes(folder, "[" * 300_000, ".json")


@case(seconds=5)
def classes_of_wide_json(folder: Path) -> Opener:
    limits.MOST_NODES = 20_000
    return classes(folder, json.dumps(["a"] * 300_000), ".json")


@case(seconds=5)
def classes_of_half_letters(folder: Path) -> Opener:
    return classes(folder, '["\\ud83d", "\\udc00"]', ".json")


@case(seconds=5)
def classes_of_digits_without_end(folder: Path) -> Opener:
    return classes(folder, f"[{'9' * 100_000}]", ".json")


@case(seconds=5)
def classes_of_numbers_without_end(folder: Path) -> Opener:
    return classes(folder, '{"0": "a", "99999999": "b"}', ".json")


@case(seconds=5)
def classes_of_long_names(folder: Path) -> Opener:
    return classes(folder, f"[{'a' * 100_000}]")


@case("opens", seconds=5)
def classes_of_names_that_meet(folder: Path) -> Opener:
    lines = ["x"] * 2_000 + [f"x ({n % 5}){'′' * (n // 5)}" for n in range(1_500)]
    return classes(folder, "\n".join(lines), ".txt")


@case(seconds=5)
def classes_that_are_a_pipe(folder: Path) -> Opener:
    os.mkfifo(folder / "classes.txt")
    return lambda: read_classes(folder / "classes.txt")


@case(seconds=5)
def classes_that_never_end(folder: Path) -> Opener:
    (folder / "classes.json").symlink_to("/dev/zero")
    return lambda: read_classes(folder / "classes.json")
