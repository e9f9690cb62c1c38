"""What a recipe says of its network and its targets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, StrictInt, StrictStr

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.code.trust import digest_of
from napari_neuroscope.engine.passes.target import Score, Target
from napari_neuroscope.engine.spec.model_spec import ModelSpec

if TYPE_CHECKING:
    from typing import Self


class RecipePart(BaseModel):
    """A part of a recipe, of which no field is unknown and none changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class RecipeNetwork(RecipePart):
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
        if not hashed or network.path is None or not is_there(network.path):
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


class RecipeTarget(RecipePart):
    """A `Target` in words: one whose region is named, or a point of the image."""

    class_: StrictStr | StrictInt | None = Field(default=None, alias="class")
    # Recipes say their regions, for those of before were of everywhere by default.
    region: (
        Literal["predicted_or_everywhere", "everywhere", "predicted", "ground_truth"]
        | tuple[float, ...]
    ) = "everywhere"
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
        if target.is_default and spec.task != "segmentation":
            region = "everywhere"
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

    def as_python(self, *, with_region: bool = True) -> str:
        """Return the target as Python writes it; a classifier has no region to name."""
        said = [repr(self.class_)]
        if with_region:
            # Named in any case, so that scripts don't hang on what is the default.
            said.append(f"region={self.region!r}")
        said += [
            f"{name}={value!r}"
            for name in ("score", "reduce")
            if (value := getattr(self, name)) != getattr(Target(), name)
        ]
        return f"ns.Target({', '.join(said)})"


def is_there(path: Path) -> bool:
    """Whether a path is a file or a folder; a pipe is neither, and a name that can't be is none."""
    return os.path.isfile(path) or os.path.isdir(path)
