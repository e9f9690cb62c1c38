"""The networks that are offered in a window, by their titles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.networks.load import DEMOS, load
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.session import settings

# A network's name may be a stranger's.
_LONGEST_TITLE = 120
DEMO_TITLES = {"nuclei": "Demo: nuclei (U-Net)", "blood-cells": "Demo: blood cells (classifier)"}


class NetworkCatalog:
    """Networks by title: those in memory, and files, which are loaded when they are first opened."""

    def __init__(self) -> None:
        self._loaders: dict[str, Callable[[], Network]] = {
            DEMO_TITLES[name]: _loader(f"demo:{name}") for name in DEMOS
        }
        self._loaded: dict[str, Network] = {}
        self._paths: dict[str, Path] = {}

    def add(self, network: Network, name: str = "") -> str:
        """Offer a network that exists in memory, by its own name if none is given; return its title."""
        title = self._title(name or network.name, lambda title: self._loaded.get(title) is network)
        self._loaded[title] = network
        return title

    def add_file(
        self, path: Path, factory: str | None = None, arguments: dict[str, Any] | None = None
    ) -> str:
        """Offer the network of a file, as `load` takes it; return its title."""
        path = path.absolute()
        # Two checkpoints may have one name, in folders of their own.
        title = self._title(path.name, lambda title: self._paths.get(title) == path)
        self._paths[title] = path
        self._loaders[title] = _loader(str(path), factory, arguments)
        self._loaded.pop(title, None)
        return title

    def _title(self, name: str, is_same: Callable[[str], bool]) -> str:
        """Return a name as a title that nothing else is offered under."""
        name = visible(name, _LONGEST_TITLE)
        title, number = name, 1
        while (title in self._loaders or title in self._loaded) and not is_same(title):
            number += 1
            title = f"{name} {number}"
        return title

    def open(self, title: str) -> Network:
        """Return a network, loading it the first time; may take a while."""
        if title not in self._loaded:
            self._loaded[title] = self._loaders[title]()
        return self._loaded[title]

    def replace(self, network: Network, replacement: Network) -> None:
        """Offer another network in the place of one."""
        if title := self.title_of(network):
            self._loaded[title] = replacement

    def loaded(self) -> tuple[Network, ...]:
        """Return the networks that are in memory."""
        return tuple(self._loaded.values())

    def title_of(self, network: Network) -> str:
        """Return the title of a network; "" where it is not offered."""
        titles = (title for title, loaded in self._loaded.items() if loaded is network)
        return next(titles, "")

    def title_for(self, source: str | None) -> str:
        """Return the title under which a file, or such as "demo:nuclei", is offered; or ""."""
        if source is None:
            return ""
        if source.startswith("demo:"):
            return DEMO_TITLES.get(source.removeprefix("demo:"), "")
        titles = (title for title, path in self._paths.items() if path == Path(source))
        return next(titles, "")


def _loader(
    source: str, factory: str | None = None, arguments: dict[str, Any] | None = None
) -> Callable[[], Network]:
    def load_as_configured() -> Network:
        configured = settings.configured()
        network = load(source, device=configured.device, factory=factory, arguments=arguments)
        network.traces.limit = configured.cache_bytes
        return network

    return load_as_configured
