"""Which recipe a batch is of: that of a file, or of what is chosen in the inspector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.crop import is_large, why_not_tiled
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.tiles.tiling import Tiling
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.layer_regions import LayerRegion

_MOST_NAMES = 3


@dataclass(frozen=True, eq=False)
class RecipeChoice:
    """What is chosen in the inspector, taken at one moment: all that a recipe says."""

    network: Network
    method: str
    targets: tuple[Target, ...]
    layers: tuple[str, ...]
    options: dict[str, Any]
    tiling: Tiling | None = None

    @classmethod
    def of(cls, session: Session, viewer: Any) -> RecipeChoice:
        """Take what is chosen; images as large as the one that is shown are passed in tiles.

        Raises
        ------
        NeuroscopeError
            Where something is still to be chosen, or can't be in a recipe.
        """
        network = session.network
        # The image and its ground truth are the batch's.
        truly = session.region == "ground_truth"
        problem = session.problem(session, with_target=not truly)
        if problem or network is None:
            raise NeuroscopeError(f"In the dock “Neuroscope”: {problem}")
        if session.network_summary is None:
            raise NeuroscopeError("The network is looked at, in the dock “Neuroscope”.")
        if not network.origin:
            raise NeuroscopeError(
                f"The network “{network.name}” was made in memory, where other processes can't find "
                f"it; save it to a file, and open that."
            )
        method = session.chosen_method()
        needs = method.needs_with(session.options)
        targets: tuple[Target, ...] = ()
        if session.takes_classes():
            region = session.region_asked(network)
            if isinstance(region, LayerRegion):
                raise NeuroscopeError(
                    f"The region is drawn in the layer “{region.layer.name}”, which is of one image; "
                    f"choose a region by name, under Target."
                )
            score: Any = session.score
            targets = tuple(Target(index, region, score) for index in session.classes)
        layers = session.layers if Needs.LAYER in needs else ()
        tiling = Tiling() if _in_tiles(session, network, viewer) else None
        return cls(network, method.name, targets, layers, dict(session.options), tiling)

    def recipe(self) -> Recipe:
        """Return its recipe; may take a while, for the network is hashed."""
        return Recipe.asking(
            self.network, self.method, self.targets, self.layers, self.options, tiling=self.tiling
        )

    def in_words(self) -> str:
        """Return what is explained, for a person."""
        classes = [self.network.spec.class_name(int(target.class_ or 0)) for target in self.targets]
        return _in_words(self.network.name, self.method, classes, self.layers)


def _in_tiles(session: Session, network: Network, viewer: Any) -> bool:
    if session.image is None:
        return False
    try:
        shape = session.pixels(network, viewer).shape
        return is_large(network, shape) and not why_not_tiled(network, session.method, shape)
    except NeuroscopeError:
        # It has too few axes; the batch is of other images.
        return False


def recipe_in_words(recipe: Recipe) -> str:
    """Return what a recipe explains, for a person."""
    classes = [str(target.class_) for target in recipe.targets if target.class_ is not None]
    layers = (recipe.layer,) if isinstance(recipe.layer, str) else recipe.layer or ()
    return _in_words(
        recipe.network.name or str(recipe.network.source), recipe.method, classes, layers
    )


def _in_words(network: str, method: str, classes: Any, layers: Any) -> str:
    title = methods[method].title if method in methods else method
    parts = [title, *(", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
                      for names in (list(classes), list(layers)) if names)]  # fmt: skip
    return f"{' · '.join(parts)}, of the network “{network}”"
