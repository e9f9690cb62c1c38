"""The pages of the methods are what their source says, and the README's table is what runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

import napari_neuroscope as ns
from places import ROOT

# At the end: a script may have the name of a module of the tests.
sys.path.append(str(ROOT / "scripts"))

import make_method_docs as docs
import method_support as support

PACKAGES = {"Keras": "tensorflow", "ONNX": "onnxruntime"}
ANEW = "run scripts/make_method_docs.py"


def columns() -> dict[str, dict[str, str]]:
    """Return the README's table: framework to method to tasks."""
    found = docs.TABLE.search((ROOT / "README.md").read_text("utf-8"))
    assert found, "the README has no table of methods"
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()
    )
    names = [re.search(r"methods/(\w+)\.md", row[0])[1] for row in rows]  # type: ignore[index]
    return {
        framework: dict(zip(names, (row[number] for row in rows), strict=True))
        for number, framework in enumerate(head)
        if number
    }


def test_the_pages_are_what_the_methods_say() -> None:
    pages = docs.pages()
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs/methods").glob("*.md")}
    assert there == set(pages) - {"methods.md"}, ANEW
    for place, text in pages.items():
        assert (ROOT / "docs" / place).read_text("utf-8") == text, f"{place}: {ANEW}"


def test_links_between_the_pages_lead_somewhere() -> None:
    readme = ROOT / "README.md"
    for path in (readme, ROOT / "docs/methods.md", *(ROOT / "docs/methods").glob("*.md")):
        for place in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / place).exists(), f"{path.name} links to {place}"


def test_the_table_has_each_method_and_framework() -> None:
    found = columns()
    assert list(found) == list(support.FRAMEWORKS), ANEW
    assert all(list(column) == list(ns.methods) for column in found.values()), ANEW
    readme = (ROOT / "README.md").read_text("utf-8")
    assert docs.readme_with(support.table(found), readme) == readme


@pytest.mark.parametrize("framework", support.FRAMEWORKS)
def test_the_table_says_what_really_runs(framework: str) -> None:
    if framework in PACKAGES:
        pytest.importorskip(PACKAGES[framework], reason=f"{framework} is not installed")
    assert columns()[framework] == support.found(framework), ANEW


@pytest.mark.parametrize("task", support.TASKS)
def test_torchscript_explains_what_the_readme_says(task: str, tmp_path: Path) -> None:
    """All methods that look at no layer, but guided backpropagation and LRP."""
    model = next(support.in_torch(task))
    example = torch.zeros(1, 3, support.SIDE, support.SIDE)
    torch.jit.save(torch.jit.trace(model, example), tmp_path / "net.pt")
    spec = {"task": task, "input": {"value_range": (0, 1)}}
    network = ns.load(tmp_path / "net.pt", spec=spec, device="cpu")
    for name, method in ns.methods.items():
        if name in ("guided_backprop", "lrp"):
            with pytest.raises(ns.NeuroscopeError, match="can't"):
                support.explains(network, name)
            continue
        looks_inside = method.needs & (ns.Needs.LAYER | ns.Needs.ATTENTION)
        expected = task in method.tasks and not looks_inside
        assert support.explains(network, name) == expected, name


def test_a_method_that_shows_nothing_is_not_counted(offer_method) -> None:
    @ns.method("Nothing")
    def nothing(trace, target, layer):  # type: ignore[no-untyped-def]
        return trace.prepared.input[0] * 0

    offer_method(nothing)
    network = ns.wrap(next(support.in_torch("segmentation")), {"task": "segmentation"})
    with pytest.raises(AssertionError, match="shows nothing"):
        support.explains(network, "nothing")
