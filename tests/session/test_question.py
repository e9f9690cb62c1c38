"""A question carries one request, and is about an extent."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.question import Question, request_for
from napari_neuroscope.session.stack_extent import Planes
from napari_neuroscope.session.tiled_extent import Crop, TiledInputCache, about_window
from napari_neuroscope.viewer.image.shown_image import ShownImage

FILM = np.random.default_rng(0).random((4, 16, 24)).astype(np.float32)
SPEC = {"task": "segmentation", "classes": ["sky", "car"], "input": {"channels": 1}}


@pytest.fixture
def question() -> Question:
    network = ns.wrap(nn.Conv2d(1, 2, 3, padding=1), SPEC, name="net", device="cpu")
    shown = ShownImage("film", FILM, False, (2, 0, 0))
    request = request_for("saliency", {"channels": "sum"}, targets=[ns.Target(1)])
    return Question(network, shown, Image(FILM), request)


def no_progress(*_: object) -> None:
    pass


def test_the_shown_plane_is_answered_as_explain_does(question: Question) -> None:
    answer = question.answer(no_progress)
    expected = ns.explain(question.network, FILM[2], "saliency", 1, channels="sum")
    np.testing.assert_array_equal(answer.values, expected.values)
    assert question.plane() == (2,)


def test_several_planes_have_a_layer_of_their_own(question: Question) -> None:
    several = question.about(Planes((range(1, 3),)))
    answer = several.answer(no_progress)
    expected = ns.explain_stack(question.network, FILM, "saliency", 1, planes="1:3", channels="sum")
    np.testing.assert_array_equal(answer.values, expected.values)
    assert several.slot == (*question.slot, "slices")
    assert question.extent.is_shown_plane
    assert not several.extent.is_shown_plane
    (_, attributes, _), *_ = several.layer_data(answer)
    assert attributes["name"].endswith("2 slices")


def test_a_window_is_a_crop_where_the_method_looks_at_an_image_as_a_whole(
    question: Question,
) -> None:
    window = ((0, 8), (4, 20))
    whole = tuple((0, n) for n in FILM.shape[1:])
    inputs = TiledInputCache()
    assert about_window(question, FILM.shape[1:], whole, inputs) is question
    NetworkSummary.of(question.network, FILM[2], no_progress)
    occlusion = Question(
        question.network, question.shown, question.source, request_for("occlusion", {"window": 4})
    )
    crop = about_window(occlusion.with_targets(ns.Target(0)), FILM.shape[1:], window, inputs)
    assert isinstance(crop.extent, Crop)
    assert crop.slot[-1] == "in view"


def test_several_make_an_axis_and_one_makes_none(question: Question) -> None:
    assert question.arguments()[1].class_ == 1
    both = question.with_targets(ns.Target(0), ns.Target(1))
    assert [target.class_ for target in both.arguments()[1]] == [0, 1]
    assert question.with_options(channels="max").options == {"channels": "max"}
    assert (question.layers, question.arguments()[2]) == ((), None)
    assert request_for("grad_cam", {}, ["a", "b"]).layer == ["a", "b"]
    assert request_for("grad_cam", {}, ["a"]).layer == "a"
