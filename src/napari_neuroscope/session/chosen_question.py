"""The question that the choices of a session make up."""

from __future__ import annotations

from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.session.choices import Choices
from napari_neuroscope.session.question import Question, request_for
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.shown_image import ShownImage


def chosen_question(
    session: Session, layer: Any, viewer: Any, *, with_target: bool = True
) -> Question:
    """Return what is chosen as a question about the shown plane of an image layer.

    Parameters
    ----------
    session
        What is chosen.
    layer
        The image's; None where none is chosen.
    viewer
        Where it is shown.
    with_target
        Whether the target is part of it, or yet to come.

    Raises
    ------
    NeuroscopeError
        Where something is still to be chosen.
    """
    network = session.network
    problem = session.problem(layer, with_target=with_target)
    if problem or layer is None or network is None:
        raise NeuroscopeError(problem or "Choose a network and an image.")
    method, options = session.chosen_method(), dict(session.options)
    needs = method.needs_with(options)
    uses_target = with_target and session.takes_classes()
    request = request_for(
        method.name,
        options,
        session.layers if Needs.LAYER in needs else (),
        session.targets(network, viewer) if uses_target else (),
    )
    # Of what the choices of a dock of its own are, that dock says more.
    choices = Choices.of_scene(session, layer, viewer)
    return Question(network, ShownImage.of(layer, viewer), layer, request, choices=choices)
