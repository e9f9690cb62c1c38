"""Recipe: how an explanation was made, as a small file that makes it again of any image."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PrivateAttr,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
)

from napari_neuroscope.engine.errors import (
    NeuroscopeError,
    NeuroscopeWarning,
    Progress,
    no_progress,
    shortened,
)
from napari_neuroscope.engine.explain.stacked_planes import explain_stack
from napari_neuroscope.engine.explain.whole import versions
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.files.code.factory import FileFactory, version_of
from napari_neuroscope.engine.files.code.trust import digest_of
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.plain_data import (
    PlainDataError,
    parse_yaml,
    refuse_large,
    yaml_of,
)
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.files.validation import first_mistake
from napari_neuroscope.engine.images.stack import Planes
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.load import load
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Score, Target
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.tiles.geometry import Tiling

if TYPE_CHECKING:
    from typing import Self

SUFFIX = ".neuroscope-recipe.yaml"
"""How the name of a recipe's file ends."""
Output = Literal[".tif", ".zarr", ".npy", ".png"]
"""The kinds of file that a recipe may write, by their endings."""
FORMAT = 1
"""The newest format of recipes that is understood here."""
_MOST_FORMAT = 1_000


class ChangedNetworkError(NeuroscopeError):
    """A network of other weights than a recipe was made with."""


class MissingNetworkError(NeuroscopeError):
    """A recipe's network that is in no file, or in one that is not there."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class RecipeNetwork(_Strict):
    """Which network a recipe is of.

    Attributes
    ----------
    name
        What people call it.
    source
        The file, or such as ``"demo:nuclei"``; None: it was made in memory.
    digest
        The hash of its weights, as `Network.digest` tells it.
    sha256
        The hash of its file, as `digest_of` tells it.
    factory, arguments
        What builds it where the file holds weights alone, as `load` takes it.
    device
        Where it ran.
    """

    name: str = ""
    source: str | None = None
    digest: str | None = None
    sha256: str | None = None
    factory: str | None = None
    arguments: dict[str, JsonValue] = {}
    device: str | None = None
    # Of this session alone: no file says it.
    _is_given: bool = PrivateAttr(default=False)

    @classmethod
    def of(cls, made: Mapping[str, Any], *, hashed: bool) -> Self:
        """Return a network of which a record says these; `hashed` as `Recipe.of` takes it."""
        network = cls(**{name: made[name] for name in cls.model_fields if name in made}).given()
        if not hashed or network.path is None or not _is_there(network.path):
            return network
        return network.model_copy(update={"sha256": digest_of(network.path)})

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        shipped = self.source is None or self.source.startswith("demo:")
        return None if shipped else Path(str(self.source))

    @property
    def is_elsewhere(self) -> bool:
        """Whether a stranger's recipe says that it lies on another computer.

        To look for it there tells that computer who asks.
        """
        return self._is_on_a_share and not self._is_given

    @property
    def _is_on_a_share(self) -> bool:
        return str(self.source).replace("\\", "/").startswith("//")

    def given(self) -> Self:
        """Return it as one whose file the user has named, wherever it lies."""
        network = self.model_copy()
        # Of others it makes no difference, and they are equal to those that are read again.
        network._is_given = network._is_on_a_share
        return network

    def with_source(self, path: Path | None) -> Self:
        """Return it with another file, which the user has named."""
        if path is None:
            return self
        return self.model_copy(update={"source": path.as_posix()}).given()


class RecipeTarget(_Strict):
    """A `Target` in words: one whose region is named, or a point of the image."""

    class_: StrictStr | StrictInt | None = Field(default=None, alias="class")
    region: Literal["everywhere", "predicted", "ground_truth"] | tuple[float, ...] = "everywhere"
    score: Score = "logit"
    reduce: Literal["sum", "mean"] = "sum"

    @classmethod
    def of(cls, target: Target, spec: ModelSpec) -> Self:
        """Return a target in words.

        Raises
        ------
        NeuroscopeError
            Where its region is a mask or an instance, which are of one image.
        """
        region, which = target.region, target.class_
        if isinstance(region, Sequence) and not isinstance(region, str):
            region = tuple(float(n) for n in region)
        elif not isinstance(region, str):
            raise NeuroscopeError(
                "The target's region is a mask or an instance of one image, which a recipe can't "
                "hold; choose a region by name, or a point."
            )
        if isinstance(which, int) and which < len(spec.classes):
            which = spec.classes[which].name
        said = {"class": which, "region": region, "score": target.score, "reduce": target.reduce}
        return cls.model_validate(said)

    def target(self) -> Target:
        """Return the target."""
        return Target(self.class_, self.region, self.score, self.reduce)

    def as_python(self) -> str:
        """Return the target as Python writes it."""
        said = [repr(self.class_)]
        said += [
            f"{name}={value!r}"
            for name in ("region", "score", "reduce")
            if (value := getattr(self, name)) != type(self).model_fields[name].default
        ]
        return f"ns.Target({', '.join(said)})"


def _spec_in_words(spec: ModelSpec) -> dict[str, Any]:
    return {"task": spec.task, **spec.model_dump(mode="json", exclude_defaults=True)}


class Recipe(_Strict):
    """How an explanation was made, so that it is made again: here, elsewhere, of other images.

    Made by `Recipe.of` and `Recipe.load`.

    Attributes
    ----------
    format
        The format of the file.
    network
        Which network, with the hash of its weights.
    spec
        What it expects and what its outputs mean, complete.
    method, options
        The method by name, and its options.
    targets
        The classes, regions and scores; none where the method needs none.
    several
        Whether the values have an axis "class" for them.
    layer
        A name or a pattern, or several, as `explain` takes it.
    planes
        Which planes of a stack, as `explain_stack` takes them; None: all, and of an image that is
        no stack itself.
    tiling
        How an image is cut into tiles, as `explain_tiled` takes it; None: it is not, or as the spec
        says.
    outputs
        The kinds of file that are written of an image, by their endings.
    versions
        With what it was made.
    """

    format: Annotated[int, Field(ge=1, le=_MOST_FORMAT)] = FORMAT
    network: RecipeNetwork
    spec: Annotated[ModelSpec, PlainSerializer(_spec_in_words)]
    method: str
    options: dict[str, Any] = {}
    targets: tuple[RecipeTarget, ...] = ()
    several: bool = False
    layer: str | tuple[str, ...] | None = None
    planes: str | None = None
    tiling: Tiling | None = None
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)] = (".tif",)
    versions: dict[str, str] = {}

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name, value in options.items():
            if not _is_plain(value):
                raise ValueError(f"the option “{name}” is neither text, number nor a list of these")
        return {name: _without_tuples(value) for name, value in options.items()}

    @classmethod
    def of(
        cls,
        explanation: Explanation,
        outputs: Sequence[Output] = (".tif",),
        *,
        hashed: bool = True,
    ) -> Self:
        """Return the recipe of an explanation that was made in this session.

        Parameters
        ----------
        explanation
            What is to be made again.
        outputs
            The kinds of file that are written of an image.
        hashed
            Whether the network's file is hashed, too; of a large one that takes a while.

        Raises
        ------
        NeuroscopeError
            Where it is made of other explanations, or hangs on what a recipe can't hold: a drawn
            region, an image as an option.
        """
        asked, record = explanation.asked, explanation.record
        title = record.title
        if asked is None:
            raise NeuroscopeError(
                f"“{title}” was not asked for by itself; make recipes of the explanations that it "
                f"is made of."
            )
        if asked.window is not None:
            raise NeuroscopeError(
                f"“{title}” is of a part of one image, which a recipe can't hold; explain the whole "
                f"image."
            )
        _refuse_options(title, asked.options)
        network = RecipeNetwork.of(
            {} if record.network is None else record.network.to_json(), hashed=hashed
        )
        spec = ModelSpec.parse(dict(record.spec or {}))
        return cls(
            network=network,
            spec=spec,
            method=record.method,
            options=dict(asked.options),
            targets=tuple(RecipeTarget.of(target, spec) for target in asked.targets),
            several=asked.several,
            layer=tuple(asked.layer) if isinstance(asked.layer, list) else asked.layer,
            planes=asked.planes,
            tiling=asked.tiling,
            outputs=tuple(outputs),
            versions=dict(record.versions or {}),
        )

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
        _refuse_options(methods[method].title, checked)
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

    # --- files ------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe from its file; nothing in it is run.

        Raises
        ------
        NeuroscopeError
            Where the file is missing, or no recipe.
        """
        path = Path(path)
        text = read_text(path, limits.MOST_TEXT)
        recipe = cls.from_yaml(text, where=f"The recipe {path}")
        source = recipe.network.path
        if source is None or source.is_absolute() or recipe.network.is_elsewhere:
            return recipe
        # What lies beside the recipe is found there, wherever both are moved.
        beside = path.absolute().parent / source
        return recipe.model_copy(update={"network": recipe.network.with_source(beside)})

    @classmethod
    def from_yaml(cls, text: str, *, where: str = "The recipe") -> Self:
        """Read a recipe from YAML, with errors as one sentence that begins with `where`."""
        try:
            raw = parse_yaml(text)
        except PlainDataError as error:
            raise NeuroscopeError(f"{where} can't be read: {error}.") from error
        return cls.parse(raw, where=where)

    @classmethod
    def parse(cls, raw: Any, *, where: str = "The recipe") -> Self:
        """Read a recipe from plain values, with errors as one sentence that begins with `where`."""
        if not isinstance(raw, dict):
            raise NeuroscopeError(f"{where} holds no recipe; save one with Recipe.of(…).save(…).")
        made_by = raw.get("format", FORMAT)
        newer = isinstance(made_by, int) and FORMAT < made_by <= _MOST_FORMAT
        if newer:
            unknown = [n for n in raw if isinstance(n, str) and n not in cls.model_fields]
            raw = {name: value for name, value in raw.items() if name in cls.model_fields}
            said = ", ".join(visible(name, 40) for name in unknown[:5])
            said += ", …" if len(unknown) > 5 else ""
            warnings.warn(
                f"{where} is of format {made_by}, newer than {FORMAT}, which is known here"
                f"{'; left out: ' + said if unknown else ''}.",
                NeuroscopeWarning,
                stacklevel=3,
            )
        update = "; a newer napari-neuroscope may read it" if newer else ""
        try:
            refuse_large(raw)
            return cls.model_validate(raw)
        except ValidationError as error:
            place, said = first_mistake(error)
            raise NeuroscopeError(f"{where} is wrong at “{place}”: {said}{update}.") from error
        except Exception as error:
            raise NeuroscopeError(f"{where} is wrong: {reason_of(error)}{update}.") from error

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain values, as JSON knows them."""
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not self.network.arguments:
            del plain["network"]["arguments"]
        return plain

    def to_yaml(self) -> str:
        """Return the recipe as YAML."""
        return yaml_of(self.plain(), broken=False)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the recipe to a file, whole or not at all.

        A network that lies in the recipe's folder, or below it, is named from there, so that both
        can be moved together.

        Raises
        ------
        NeuroscopeError
            Where the file is there and isn't to be overwritten, can't be written, or is not named
            as recipes are.
        """
        path = Path(path)
        refuse_path(path, overwrite=overwrite)
        folder, source = path.absolute().parent, self.network.path
        inside = source is not None and source.is_relative_to(folder)
        named = source.relative_to(folder) if source is not None and inside else None
        text = self.model_copy(update={"network": self.network.with_source(named)}).to_yaml()
        write_whole(path, lambda part: part.write_text(text, "utf-8"))

    # --- made again -------------------------------------------------------------------------------

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
        if made.path is not None and not _is_there(made.path):
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
        found = explain_stack(
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
        return self.noted(found, notes)

    def noted(self, found: Explanation, notes: Sequence[str] = ()) -> Explanation:
        """Return what was made with notes on what is another than where the recipe was made."""
        return found.with_notes(*notes, *self._differences(found.record))

    def is_of(self, network: Network) -> bool:
        """Whether a network has the weights that the recipe was made with, as far as it says."""
        return self.network.digest in (None, network.digest())

    def _checked_options(self) -> dict[str, Any]:
        """Return the options, none but the method's own: others would be told to `explain`."""
        return methods[self.method].check_options(self.options)

    def _file_is_replaced(self) -> bool:
        path, known = self.network.path, self.network.sha256
        if path is None or known is None or not _is_there(path):
            return False
        return digest_of(path) != known

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

    # --- as text ----------------------------------------------------------------------------------

    def as_python(
        self, image: str | Path = "image.tif", ground_truth: str | Path = "truth.tif"
    ) -> str:
        """Return a script that makes it of an image file, its result in ``explanation``.

        Raises
        ------
        NeuroscopeError
            Where the network was made in memory, or the method is not there.
        """
        made, options = self.network, self._checked_options()
        if made.source is None:
            raise NeuroscopeError(
                f"The network “{made.name}” was made in memory, which no script can do again; save "
                f"it to a file, and load that."
            )
        loading = [repr(made.source), pformat(_spec_in_words(self.spec), sort_dicts=False)]
        if made.factory is not None:
            loading += [f"factory={made.factory!r}", f"arguments={made.arguments!r}"]
        targets = [target.as_python() for target in self.targets]
        target = f"[{', '.join(targets)}]" if self.several else next(iter(targets), "None")
        layer = list(self.layer) if isinstance(self.layer, tuple) else self.layer
        asking = ["network", "image", repr(self.method), target, repr(layer)]
        lines = [
            "import napari_neuroscope as ns",
            "",
            f"image = ns.read_image({str(image)!r})",
        ]
        if self.planes is not None:
            lines[-1] = f"image = ns.open_image({str(image)!r})"
            asking.append(f"planes={self.planes!r}")
        how: dict[str, Any] = asdict(self.tiling) if self.tiling else {}
        how = {name: value for name, value in how.items() if value != getattr(Tiling(), name)}
        if self.tiling is not None and self.planes is not None:
            arguments = ", ".join(f"{name}={value!r}" for name, value in how.items())
            asking.append(f"tiling=ns.Tiling({arguments})")
        elif self.tiling is not None:
            lines[-1] = f"image = ns.open_image({str(image)!r})"
            asking += [f"{name}={value!r}" for name, value in how.items()]
        if self.needs_ground_truth:
            lines.append(f"ground_truth = ns.read_image({str(ground_truth)!r})")
            asking.append("ground_truth=ground_truth")
        asking += [f"{name}={value!r}" for name, value in options.items()]
        explaining = "ns.explain" if self.tiling is None else "ns.explain_tiled"
        explaining = explaining if self.planes is None else "ns.explain_stack"
        lines += [f"network = {_call('ns.load', loading)}",
                  f"explanation = {_call(explaining, asking)}"]  # fmt: skip
        return "\n".join(lines) + "\n"

    def as_command(
        self,
        image: str | Path = "image.tif",
        out: str | Path = "explanation.tif",
        *,
        recipe: str | Path | None = None,
        ground_truth: str | Path = "truth.tif",
    ) -> str:
        """Return the command that makes it of an image file, for a POSIX shell.

        Parameters
        ----------
        image, out, ground_truth
            The files.
        recipe
            The recipe's own file; None: the recipe itself stands in the command.
        """
        words = ["napari-neuroscope", "run", _word(recipe or "-"), _word(image)]
        if self.needs_ground_truth:
            words += ["--ground-truth", _word(ground_truth)]
        words += ["-o", _word(out)]
        command = " ".join(words)
        # Lines of a recipe that belong to longer texts are indented: none is the last one.
        return command if recipe else f"{command} <<'RECIPE'\n{self.to_yaml()}RECIPE\n"

    @property
    def needs_ground_truth(self) -> bool:
        """Whether a target's region is where the class truly is."""
        return any(target.region == "ground_truth" for target in self.targets)


def recorded(explanation: Explanation, *, hashed: bool = True) -> dict[str, Any]:
    """Return what an explanation's record says of its recipe, as plain JSON.

    Under “recipe” the recipe, or under “no_recipe” the sentence that says why there is none.
    """
    try:
        return {"recipe": Recipe.of(explanation, hashed=hashed).plain()}
    except NeuroscopeError as error:
        return {"no_recipe": str(error)}


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


def refuse_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that a recipe can't be saved as."""
    if not path.name.endswith(SUFFIX):
        raise NeuroscopeError(f"A recipe's name ends in {SUFFIX}, but “{path.name}” doesn't.")
    if path.exists() and not overwrite:
        raise NeuroscopeError(f"{path} is there already; choose another name, or overwrite it.")


def _is_there(path: Path) -> bool:
    """Whether a path is a file or a folder; a pipe is neither, and a name that can't be is none."""
    return os.path.isfile(path) or os.path.isdir(path)


def _refuse_options(title: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if not _is_plain(value):
            raise NeuroscopeError(
                f"The option “{name}” of {title} is an image or a number without end, which a "
                f"recipe can't hold; choose it by name."
            )


def _is_plain(value: Any) -> bool:
    """Whether a value is what YAML and Python both write."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int)


def _without_tuples(value: Any) -> Any:
    return [_without_tuples(one) for one in value] if isinstance(value, list | tuple) else value


def _named(what: str, value: str) -> str:
    return f"the device {value}" if what == "device" else f"{what} {value}"


def _call(function: str, arguments: Sequence[str]) -> str:
    """Write a call, an argument a line."""
    lines = (line for text in arguments for line in f"{text},".splitlines())
    return "\n".join([f"{function}(", *(f"    {line}" for line in lines), ")"])


def _word(text: str | Path) -> str:
    """Quote a word of a command, which is no option whatever it begins with."""
    text = str(text)
    return shlex.quote(f"./{text}" if text.startswith("-") and text != "-" else text)
