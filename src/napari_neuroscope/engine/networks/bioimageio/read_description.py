"""Reading a description of either format from plain data."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.files.validation import first_mistake
from napari_neuroscope.engine.networks.bioimageio.description import Description
from napari_neuroscope.engine.networks.bioimageio.old_description import OldDescription


def read(raw: Any, where: str) -> Description:
    """Read a description of format 0.4 or 0.5.

    Parameters
    ----------
    raw
        The plain data of the YAML.
    where
        What is read, as the beginning of a sentence.

    Raises
    ------
    NeuroscopeError
        Where it is no description of a model, of another format, or lacks something.
    """
    if not isinstance(raw, dict):
        raise NeuroscopeError(f"{where} has no bioimage.io description: it is no mapping.")
    kind = raw.get("type", "model")
    if kind != "model":
        raise NeuroscopeError(f"{where} describes a {shortened(str(kind), 40)}, no model.")
    version = raw.get("format_version")
    if version is None:
        raise NeuroscopeError(f"{where} says no format_version; it is no bioimage.io model.")
    series = ".".join(str(version).split(".")[:2])
    if series not in ("0.4", "0.5"):
        raise NeuroscopeError(
            f"{where} is of format {shortened(str(version), 20)}, and 0.4 and 0.5 are read here; "
            f"convert it with the package bioimageio.spec."
        )
    try:
        if series == "0.4":
            raw = OldDescription.model_validate(raw).renewed()
        return Description.model_validate(raw)
    except ValidationError as error:
        place, message = first_mistake(error)
        raise NeuroscopeError(f"{where} is wrong at “{place}”: {message}.") from error
    except IndexError as error:
        raise NeuroscopeError(
            f"{where} is wrong: a tensor's shape has fewer numbers than axes."
        ) from error
    except Exception as error:
        raise NeuroscopeError(f"{where} is wrong: {reason_of(error)}.") from error
