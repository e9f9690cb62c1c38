"""Which frameworks are installed, and which of them a model or a file belongs to.

They are loaded by their entry points alone, ours as those of other packages: nobody imports one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import file_kind
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.frameworks.base import Framework
from napari_neuroscope.engine.plugin_catalogue import load_entry_points

GROUP = "napari_neuroscope.frameworks"


def framework_of(model: Any) -> type[Framework]:
    """Return the framework that recognises a model.

    Raises
    ------
    NeuroscopeError
        Where none does.
    """
    installed = frameworks()
    for framework in installed:
        if framework.recognises(model):
            return framework
    raise NeuroscopeError(
        f"A {type(model).__module__}.{type(model).__qualname__} is no network that is known here; "
        f"give a model of {', '.join(f.name for f in installed if not f.takes_anything)}, or a function "
        f"that returns scores."
    )


def frameworks() -> list[type[Framework]]:
    """Return the frameworks whose packages are installed, in the order in which they are asked."""
    installed = load_entry_points(GROUP, "framework")
    return sorted(installed, key=lambda framework: framework.takes_anything)


def kind_of(path: Path) -> Kind:
    """Return what kind of network a file holds, to an installed framework or in general.

    Raises
    ------
    NeuroscopeError
        Where it is missing, broken, or no network: it says what the file is.
    """
    head = file_kind.head_of(path)
    claims = (framework.kind_of(path, head) for framework in frameworks())
    return next((kind for kind in claims if kind), None) or file_kind.kind_of(path)


def suffixes() -> tuple[str, ...]:
    """Return the usual endings of files that can be opened."""
    of_frameworks = (suffix for framework in frameworks() for suffix in framework.suffixes)
    return tuple(dict.fromkeys([*file_kind.SUFFIXES, *of_frameworks]))
