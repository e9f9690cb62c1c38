"""The document of a recipe: a small file that says how an explanation was made."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field, PlainSerializer, ValidationError, field_validator

from napari_neuroscope.engine.errors import NeuroscopeError, NeuroscopeWarning
from napari_neuroscope.engine.explanation.recipe_parts import (
    RecipeNetwork,
    RecipePart,
    RecipeTarget,
)
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.plain_data import (
    PlainDataError,
    parse_yaml,
    refuse_large,
    yaml_of,
)
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.files.validation import first_mistake
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.tiles.tiling import Tiling

if TYPE_CHECKING:
    from typing import Self

SUFFIX = ".neuroscope-recipe.yaml"
"""How the name of a recipe's file ends."""
Output = Literal[".tif", ".zarr", ".npy", ".png"]
"""The kinds of file that a recipe may write, by their endings."""
FORMAT = 1
"""The newest format of recipes that is understood here."""
_MOST_FORMAT = 1_000


def spec_in_words(spec: ModelSpec) -> dict[str, Any]:
    """Return a spec as plain values, its task always among them."""
    return {"task": spec.task, **spec.model_dump(mode="json", exclude_defaults=True)}


class RequestedAnswer(Protocol):
    """What is read of an explanation: what it was asked for with, and how it was made."""

    @property
    def request(self) -> Request | None:
        """What it was asked for with; None where it was not made in this session."""

    @property
    def record(self) -> Record:
        """How it was made."""


class RecipeDocument(RecipePart):
    """What a recipe's file says: how an explanation was made, so that it is made again.

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
    spec: Annotated[ModelSpec, PlainSerializer(spec_in_words)]
    method: str
    options: dict[str, Any] = Field(default_factory=dict)
    targets: tuple[RecipeTarget, ...] = ()
    several: bool = False
    layer: str | tuple[str, ...] | None = None
    planes: str | None = None
    tiling: Tiling | None = None
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)] = (".tif",)
    versions: dict[str, str] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name, value in options.items():
            if not is_plain(value):
                raise ValueError(f"the option “{name}” is neither text, number nor a list of these")
        return {name: _without_tuples(value) for name, value in options.items()}

    @classmethod
    def of(
        cls,
        explanation: RequestedAnswer,
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
        request, record = explanation.request, explanation.record
        title = record.title
        if request is None:
            raise NeuroscopeError(
                f"“{title}” was not asked for by itself; make recipes of the explanations that it "
                f"is made of."
            )
        if request.window is not None:
            raise NeuroscopeError(
                f"“{title}” is of a part of one image, which a recipe can't hold; explain the whole "
                f"image."
            )
        refuse_options(title, request.options)
        network = RecipeNetwork.of(
            {} if record.network is None else record.network.to_json(), hashed=hashed
        )
        spec = ModelSpec.parse(dict(record.spec or {}))
        return cls(
            network=network,
            spec=spec,
            method=record.method,
            options=dict(request.options),
            targets=tuple(RecipeTarget.of(target, spec) for target in request.targets),
            several=request.several,
            layer=tuple(request.layer) if isinstance(request.layer, list) else request.layer,
            planes=request.planes,
            tiling=request.tiling,
            outputs=tuple(outputs),
            versions=dict(record.versions or {}),
        )

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

    @property
    def needs_ground_truth(self) -> bool:
        """Whether a target's region is where the class truly is."""
        return any(target.region == "ground_truth" for target in self.targets)


def recorded(explanation: RequestedAnswer, *, hashed: bool = True) -> dict[str, Any]:
    """Return what an explanation's record says of its recipe, as plain JSON.

    Under “recipe” the recipe, or under “no_recipe” the sentence that says why there is none.
    """
    try:
        return {"recipe": RecipeDocument.of(explanation, hashed=hashed).plain()}
    except NeuroscopeError as error:
        return {"no_recipe": str(error)}


def refuse_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that a recipe can't be saved as."""
    if not path.name.endswith(SUFFIX):
        raise NeuroscopeError(f"A recipe's name ends in {SUFFIX}, but “{path.name}” doesn't.")
    if path.exists() and not overwrite:
        raise NeuroscopeError(f"{path} is there already; choose another name, or overwrite it.")


def refuse_options(title: str, options: Mapping[str, Any]) -> None:
    """Refuse options of a method that a recipe can't hold."""
    for name, value in options.items():
        if not is_plain(value):
            raise NeuroscopeError(
                f"The option “{name}” of {title} is an image or a number without end, which a "
                f"recipe can't hold; choose it by name."
            )


def is_plain(value: Any) -> bool:
    """Whether a value is what YAML and Python both write."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int)


def _without_tuples(value: Any) -> Any:
    return [_without_tuples(inner) for inner in value] if isinstance(value, list | tuple) else value
