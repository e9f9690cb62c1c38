"""The page that judges explanations: its numbers are the program's, and its sentences hold of them."""

from __future__ import annotations

import re
import sys

import pytest

from places import ROOT

# At the end: a script may have the name of a module of the tests.
sys.path.append(str(ROOT / "scripts"))

import judging_figures as judging

PAGE = ROOT / "docs" / "judging.md"


def test_the_tables_are_the_numbers_that_were_measured() -> None:
    page = PAGE.read_text("utf-8")
    tables = {name: judging.shown(judging.read(name)) for name in judging.CASES}
    assert all(table in page for table in tables.values()), "run scripts/judging_figures.py"
    assert judging.page_with(tables, page) == page


@pytest.mark.parametrize("claim", judging.CLAIMS)
def test_what_the_page_says_holds(claim: str) -> None:
    assert judging.CLAIMS[claim](*map(judging.read, judging.CASES))


def test_the_page_says_in_italics_what_is_checked_and_nothing_else() -> None:
    page = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", PAGE.read_text("utf-8"), flags=re.DOTALL)
    italics = re.findall(r"(?<!\*)\*(?!\*)([^*]+)\*(?!\*)", page)
    said = [" ".join(text.split()) for text in italics]
    assert sorted(said) == sorted([*judging.CLAIMS, "italics"])


def test_a_claim_that_no_longer_holds_is_found() -> None:
    nuclei, cell = map(judging.read, judging.CASES)
    nuclei["Guided backpropagation"]["sanity_check"] = 0.1
    wrong = [claim for claim, holds in judging.CLAIMS.items() if not holds(nuclei, cell)]
    assert wrong[0].startswith("It fails the check: it stays like itself")


@pytest.mark.parametrize("case", [judging.nuclei, judging.cell])
def test_the_numbers_are_the_programs(case: object) -> None:
    judged = case()  # type: ignore[operator]
    metrics = ["deletion", "insertion", "pointing_game", "energy_in_mask", "sanity_check"]
    table = judging.table_of(judging.judged(judged, ["grad_cam", "guided_backprop"], metrics))
    there = judging.read(judged.name)
    assert [row[0] for row in table[1:]] == [
        judging.CAM,
        judging.GUIDED,
        *judging.CONTROLS.values(),
    ]
    for row in table[1:]:
        found = dict(zip(table[0], row, strict=True))
        known = [name for name in metrics if found[name] is not None]
        assert len(known) >= 4
        for name in known:
            assert found[name] == pytest.approx(there[row[0]][name], abs=0.02), (row[0], name)


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"\]\((pictures/\S+)\)", PAGE.read_text("utf-8"))
    assert len(pictures) == 3 * len(judging.CASES)
    assert all((PAGE.parent / picture).is_file() for picture in pictures)
