"""What is said of a batch while it runs, and at its end."""

from __future__ import annotations

from typing import Any

import pytest

from napari_neuroscope.widgets.batch.words import progress_in_words, result_in_words


def event(**fields: int) -> dict[str, Any]:
    return {"total": 1200, "kept": 0, "done": 0, "failed": 0, "left": 0, **fields}


@pytest.mark.parametrize(
    ("fields", "left", "words"),
    [
        ({"done": 10}, "", "10 of 1,200"),
        ({"done": 10, "kept": 1000}, "about 3 min", "1,010 of 1,200 · about 3 min left"),
        ({"done": 1, "failed": 2}, "a moment", "3 of 1,200 · 2 with a problem · a moment left"),
    ],
)
def test_how_far_it_is(fields: dict[str, int], left: str, words: str) -> None:
    assert progress_in_words(event(**fields), left) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"done": 1200}, "1,200 of 1,200 images are done."),
        ({"done": 200, "kept": 1000}, "1,200 of 1,200 images are done, 1,000 of them before."),
        ({"failed": 1}, "0 of 1,200 images are done; 1 has a problem, and is tried again with Resume."),
        ({"done": 5, "failed": 2, "left": 1193},
         "5 of 1,200 images are done; 2 have a problem, and are tried again with Resume. "
         "Stopped: Resume does the other 1,193."),
    ],
)  # fmt: skip
def test_what_it_has_done(fields: dict[str, int], words: str) -> None:
    assert result_in_words(event(**fields)) == words
