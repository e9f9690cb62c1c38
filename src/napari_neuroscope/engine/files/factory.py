"""Functions that build a network, named as ``package.module:function``."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.trust import require_trust


def build(
    factory: str | Callable[..., Any], arguments: dict[str, Any] | None, *, trust: bool
) -> Any:
    """Call a factory with its arguments.

    Parameters
    ----------
    factory
        A function, or the name of one as ``package.module:function``.
    arguments
        Its keyword arguments.
    trust
        Whether code may run that is in no installed package.

    Raises
    ------
    NeuroscopeError
        Where there is no such function, or it fails.
    UntrustedError
        Where it is in no installed package, and is not trusted.
    """
    function = factory if callable(factory) else _import(factory, trust=trust)
    try:
        return function(**(arguments or {}))
    except Exception as error:
        name = factory if isinstance(factory, str) else getattr(function, "__qualname__", "?")
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise NeuroscopeError(
            f"The factory “{name}” failed with {type(error).__name__}: {reason:.200}; check its "
            f"arguments {arguments or {}}."
        ) from error


def _import(name: str, *, trust: bool) -> Callable[..., Any]:
    module_name, colon, function_name = name.partition(":")
    if not colon or not all(part.isidentifier() for part in module_name.split(".")):
        raise NeuroscopeError(f"The factory “{name:.80}” needs the form package.module:function.")
    # The package is looked for, not imported: importing it would run it.
    top = module_name.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise NeuroscopeError(
            f"The factory “{name:.80}” needs the package “{top}”, which is not installed; install "
            f"it into this environment."
        )
    place = found.origin or next(iter(found.submodule_search_locations or ()), "")
    if not _is_installed(top, place):
        require_trust(Path(place), f"the Python file {place}, which is in no installed package",
                      trust=trust)  # fmt: skip
    try:
        target: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise NeuroscopeError(f"There is no factory “{name:.80}”: {error}.") from error
    if not callable(target):
        raise NeuroscopeError(f"“{name:.80}” is a {type(target).__name__}, no function or class.")
    return target


def _is_installed(top: str, place: str) -> bool:
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    if top == __name__.partition(".")[0]:
        return True  # this package, which runs already, wherever it lies
    if top not in importlib.metadata.packages_distributions():
        return False
    sites = [Path(path).resolve() for name, path in sysconfig.get_paths().items() if "lib" in name]
    if any(Path(place).resolve().is_relative_to(site) for site in sites):
        return True
    # An editable install lies elsewhere, and says so.
    distributions = importlib.metadata.packages_distributions()[top]
    return any('"editable": true' in (_direct_url(name) or "") for name in distributions)


def _direct_url(distribution: str) -> str | None:
    return importlib.metadata.distribution(distribution).read_text("direct_url.json")
