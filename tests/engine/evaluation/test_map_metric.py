"""What is declared of a metric."""

from __future__ import annotations

from napari_neuroscope.engine.errors import within
from napari_neuroscope.engine.evaluation.metric_registry import metrics as installed


def test_the_work_is_told_in_passes_and_followed_in_parts() -> None:
    assert installed["deletion"].count_passes({}, 3) == 51
    assert installed["sanity_check"].count_passes({"stages": 4}, 3) == 15
    assert installed["pointing_game"].count_passes({}, 3) == 0
    told: list[tuple[int, int, str]] = []
    follow = within(lambda *step: told.append(step), 1, 4, "whole")
    follow(0, 5, "part")
    follow(5, 5, "part")
    assert told == [(5, 20, "whole"), (10, 20, "whole")]
