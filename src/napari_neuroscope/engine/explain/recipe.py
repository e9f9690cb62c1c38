"""Recipe: how an explanation was made, as a small file that makes it again of any image."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_neuroscope.engine.errors import (
    NeuroscopeError,
    NeuroscopeWarning,
    Progress,
    no_progress,
    shortened,
)
from napari_neuroscope.engine.explain.stacked_planes import explain_stack
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.recipe_code import python_script, shell_command
from napari_neuroscope.engine.explanation.recipe_document import RecipeDocument, refuse_options
from napari_neuroscope.engine.explanation.recipe_parts import (
    RecipeNetwork,
    RecipeTarget,
    is_there,
)
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.explanation.versions import versions
from napari_neuroscope.engine.files.code.factory import FileFactory, version_of
from napari_neuroscope.engine.files.code.trust import digest_of
from napari_neuroscope.engine.images.stack import Planes
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.load import load
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.tiles.tiling import Tiling

if TYPE_CHECKING:
    from typing import Self


class ChangedNetworkError(NeuroscopeError):
    """A network of other weights than a recipe was made with."""


class MissingNetworkError(NeuroscopeError):
    """A recipe's network that is in no file, or in one that is not there."""


class Recipe(RecipeDocument):
    """How an explanation was made, so that it is made again: here, elsewhere, of other images.

    Made by `Recipe.of` and `Recipe.load`.
    """

    @classmethod
    def asking(
        cls,
        network: Network,
        method: str,
        targets: Sequence[Target] = (),
        layers: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
        *,
        tiling: Tiling | None = None,
        hashed: bool = True,
    ) -> Self:
        """Return the recipe of an explanation that is still to be made.

        Parameters
        ----------
        network
            The network.
        method, options
            The method by name, and its options.
        targets, layers
            The targets and the layers by name, as far as the method needs some. Several make an
            axis of the map, one makes none.
        tiling
            How images are cut into tiles, if they are.
        hashed
            As `of` takes it.

        Raises
        ------
        NeuroscopeError
            Where it hangs on what a recipe can't hold, as for `of`.
        """
        checked = methods[method].check_options(options or {})
        refuse_options(methods[method].title, checked)
        made = {"name": network.name, "digest": network.digest(), "device": str(network.device)}
        spec = ModelSpec.parse(network.spec.model_dump(mode="json", exclude_defaults=True))
        return cls(
            network=RecipeNetwork.of({**made, **network.origin}, hashed=hashed),
            spec=spec,
            method=method,
            options=checked,
            targets=tuple(RecipeTarget.of(target, spec) for target in targets),
            several=len(targets) > 1,
            layer=tuple(layers) if len(layers) > 1 else next(iter(layers), None),
            tiling=tiling,
            versions=versions(),
        )

    def load_network(self, *, device: str = "auto", trust: bool = False) -> Network:
        """Load the recipe's network, as `load` does.

        Parameters
        ----------
        device
            "cpu", "cuda", "cuda:1", "mps", or "auto".
        trust
            Whether code may run that comes with the file, or that the recipe names as a factory.

        Raises
        ------
        MissingNetworkError
            Where there is no such file.
        UntrustedError
            Where code would run, and is not trusted.
        NeuroscopeError
            Where the file is no network.
        """
        made = self.network
        if made.source is None:
            raise MissingNetworkError(
                f"The recipe's network “{made.name}” was made in memory, so there is no file to "
                f"load it from; give the network itself."
            )
        if made.is_elsewhere and not trust:
            raise MissingNetworkError(
                f"The recipe's network “{shortened(made.source, 300)}” would be asked for from "
                f"another computer, which a recipe doesn't do by itself; give the network itself."
            )
        if made.path is not None and not is_there(made.path):
            raise MissingNetworkError(
                f"The recipe's network, the file {shortened(str(made.path), 300)}, is not there; "
                f"give the network itself."
            )
        factory = None
        if made.factory is not None:
            # Whoever wrote the recipe chose what is called, and with what.
            factory = FileFactory(
                made.factory,
                Path("recipe"),
                digest=self._digest_of_factory,
                seal=self._digest_of_factory,
                trusted=trust,
            )
            factory.require_trust(made.arguments)
        return load(
            made.source,
            self.spec,
            device=device,
            trust=trust,
            factory=factory,
            arguments=made.arguments or None,
        )

    def _digest_of_factory(self) -> str:
        """Return the hash by which it is trusted to call its factory, for this file of weights."""
        made = self.network
        weights = "" if made.path is None else digest_of(made.path)
        said = [self.to_yaml(), version_of(made.factory or ""), weights]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def run(
        self,
        network: Network | None,
        image: Any,
        *,
        ground_truth: Any = None,
        planes: Planes = None,
        device: str = "auto",
        trust: bool = False,
        allow_changed: bool = False,
        progress: Progress = no_progress,
        partial: Callable[[Explanation], None] | None = None,
    ) -> Explanation:
        """Explain an image as the recipe says.

        On the same device and with the same versions the values are the same bit for bit; the
        record notes where these differ.

        Parameters
        ----------
        network
            The network, where it is loaded already; None: it is loaded from its file.
        image
            As `explain_stack` takes it.
        ground_truth
            For targets of the region "ground_truth".
        planes
            Which planes of a stack, in place of the recipe's.
        device, trust
            As `load_network` takes them.
        allow_changed
            Go on, with a warning, where the network is another than the recipe was made with.
        progress, partial
            As `explain` takes them.

        Raises
        ------
        ChangedNetworkError
            Where the network has changed.
        NeuroscopeError
            Where what the recipe asks for does not go with the network or the image.
        """
        self._checked_options()
        network, notes = self.fitted(
            network, device=device, trust=trust, allow_changed=allow_changed
        )
        return self.explained(
            network,
            image,
            notes,
            ground_truth=ground_truth,
            planes=planes,
            progress=progress,
            partial=partial,
        )

    def fitted(
        self,
        network: Network | None,
        *,
        device: str = "auto",
        trust: bool = False,
        allow_changed: bool = False,
    ) -> tuple[Network, list[str]]:
        """Return the network as the recipe needs it, and what is to be noted of it.

        The parameters and errors are those of `run`.
        """
        replaced = False
        if network is None:
            network = self.load_network(device=device, trust=trust)
            # Only now it is clear that it is no whole disk, which takes hours to look through.
            replaced = self._file_is_replaced()
        notes = self._changes(network, allow_changed=allow_changed, replaced=replaced)
        return network if network.spec == self.spec else network.with_spec(self.spec), notes

    def explained(
        self,
        network: Network,
        image: Any,
        notes: Sequence[str] = (),
        *,
        ground_truth: Any = None,
        planes: Planes = None,
        keep: Literal["asked", "everything", "fit"] | None = None,
        out: Any = None,
        progress: Progress = no_progress,
        partial: Callable[[Explanation], None] | None = None,
    ) -> Explanation:
        """Explain an image with a network that `fitted` returned, and its notes.

        The other parameters are those of `explain_stack`.
        """
        targets = [target.target() for target in self.targets]
        explanation = explain_stack(
            network,
            image,
            self.method,
            targets if self.several else next(iter(targets), None),
            list(self.layer) if isinstance(self.layer, tuple) else self.layer,
            planes=self.planes if planes is None else planes,
            ground_truth=ground_truth,
            keep=keep,
            tiling=self.tiling,
            out=out,
            progress=progress,
            partial=partial,
            **self._checked_options(),
        )
        return self.noted(explanation, notes)

    def noted(self, explanation: Explanation, notes: Sequence[str] = ()) -> Explanation:
        """Return what was made with notes on what is another than where the recipe was made."""
        return explanation.with_notes(*notes, *self._differences(explanation.record))

    def is_of(self, network: Network) -> bool:
        """Whether a network has the weights that the recipe was made with, as far as it says."""
        return self.network.digest in (None, network.digest())

    def _checked_options(self) -> dict[str, Any]:
        """Return the options, none but the method's own: others would be told to `explain`."""
        return methods[self.method].check_options(self.options)

    def _file_is_replaced(self) -> bool:
        path, sha256 = self.network.path, self.network.sha256
        if path is None or sha256 is None or not is_there(path):
            return False
        return digest_of(path) != sha256

    def _changes(self, network: Network, *, allow_changed: bool, replaced: bool) -> list[str]:
        """Warn of a network that is not the recipe's; refuse one of other weights."""
        notes = []
        if not self.is_of(network):
            if not allow_changed:
                raise ChangedNetworkError(
                    f"The network “{network.name}” is another than the recipe was made with (its "
                    f"weights have changed); give the right one, or allow it with "
                    f"allow_changed=True."
                )
            notes.append("the network's weights are others than the recipe was made with")
        elif replaced:
            notes.append(
                "the network's file is another than the recipe was made with, with the same weights"
            )
        for note in notes:
            warnings.warn(f"{note[0].upper()}{note[1:]}.", NeuroscopeWarning, stacklevel=3)
        return notes

    def _differences(self, record: Record) -> list[str]:
        """Say what is another here than where the recipe was made."""
        here = {**(record.versions or {}), "device": str(record.network and record.network.device)}
        there = {**self.versions, "device": self.network.device or here["device"]}
        return [
            f"made with {_named(name, here[name])}, the recipe with {_named(name, there[name])}"
            for name in here
            if name in there and there[name] != here[name]
        ]

    def as_python(
        self, image: str | Path = "image.tif", ground_truth: str | Path = "truth.tif"
    ) -> str:
        """Return a script that makes it of an image file, as `python_script`."""
        return python_script(self, self._checked_options(), image, ground_truth)

    def as_command(
        self,
        image: str | Path = "image.tif",
        out: str | Path = "explanation.tif",
        *,
        recipe: str | Path | None = None,
        ground_truth: str | Path = "truth.tif",
    ) -> str:
        """Return the command that makes it of an image file, as `shell_command`."""
        return shell_command(self, image, out, recipe=recipe, ground_truth=ground_truth)


def recipe_in(record: Mapping[str, Any]) -> Recipe:
    """Return the recipe that an explanation's record holds, as `recorded` wrote it.

    Raises
    ------
    NeuroscopeError
        Where it holds none, and why.
    """
    if "recipe" in record:
        return Recipe.parse(record["recipe"], where="The recipe in the record")
    raise NeuroscopeError(
        str(record.get("no_recipe", ""))
        or "The record holds no recipe: it was not made by an explanation of one image."
    )


def _named(what: str, value: str) -> str:
    return f"the device {value}" if what == "device" else f"{what} {value}"
