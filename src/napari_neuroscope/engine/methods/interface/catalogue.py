"""The list of the methods, which knows none of them: the registry says where to look."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from napari_neuroscope.engine.methods.interface.method_class import Method
from napari_neuroscope.engine.plugin_catalogue import PluginCatalogue


class Methods(PluginCatalogue[Method]):
    """All methods that are installed, by name, in the order in which they are offered."""

    def find_with(self, find: Callable[[], Iterable[Method]]) -> None:
        """Take the methods from a function, which is called when one is first asked for."""
        self._find = find
        self.refresh()

    def add(self, method: Method) -> None:
        """Offer a method that no package installs, such as one of a notebook."""
        self._by_name()[method.name] = method

    def nearest(self, method: Method, runs: Callable[[Method], bool]) -> Method | None:
        """Return what comes nearest of what runs: itself, perhaps, with its own options."""
        near = (method, *(self[name] for name in method.instead))
        return next((candidate for candidate in near if runs(candidate)), None)


methods = Methods("method")
"""The methods that are installed."""
