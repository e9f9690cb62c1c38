"""What a batch needs to begin, asked of the user: trust, a network's file, another's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.widgets.parts.dialogs.question_box import agrees
from napari_neuroscope.widgets.parts.open_network import ask_for_file, ask_for_trust


def error_of(event: dict[str, Any]) -> NeuroscopeError:
    """Return what has ended a batch, as its process told it."""
    if event["type"] == "UntrustedError":
        return UntrustedError(Path(event["path"]), event["sha256"], event["would_run"])
    return NeuroscopeError(event["message"])


def answered(
    parent: QWidget, recipe: Recipe, event: dict[str, Any]
) -> tuple[Recipe, dict[str, Any]] | None:
    """Ask for what a batch has missed.

    Parameters
    ----------
    parent
        The window's part that asks.
    recipe
        The batch's.
    event
        The error that has ended it.

    Returns
    -------
    tuple of Recipe and dict, or None
        With what to begin again, and what the process is told besides; None where the user thinks
        better of it, or nothing can be answered.
    """
    kind = event["type"]
    if kind == "UntrustedError":
        refusal = error_of(event)
        # A yes is remembered, where the other process finds it.
        is_trusted = isinstance(refusal, UntrustedError) and ask_for_trust(parent, refusal)
        return (recipe, {}) if is_trusted else None
    if kind == "MissingNetworkError":
        path = ask_for_file(parent)
        if path is None:
            return None
        network = recipe.network.with_source(path)
        return recipe.model_copy(update={"network": network}), {}
    if kind == "ChangedNetworkError":
        words = (
            f"The network “{recipe.network.name}” has other weights than the one that the recipe "
            f"was made with. Run the batch with it?"
        )
        is_agreed = agrees(parent, "Another network", words, "Run with it")
        return (recipe, {"allow_changed": True}) if is_agreed else None
    return None
