"""The list of the methods, which knows none of them: the registry says where to look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.methods.interface.method_class import Method


class Methods(Mapping[str, Method]):
    """All methods that are installed, by name, in the order in which they are offered."""

    def __init__(self) -> None:
        self._find: Callable[[], Iterable[Method]] = tuple
        self._methods: dict[str, Method] | None = None

    def find_with(self, find: Callable[[], Iterable[Method]]) -> None:
        """Take the methods from a function, which is called when one is first asked for."""
        self._find, self._methods = find, None

    def refresh(self) -> None:
        """Look again at what is installed, forgetting what was added."""
        self._methods = None

    def add(self, method: Method) -> None:
        """Offer a method that no package installs, such as one of a notebook."""
        self._installed()[method.name] = method

    def nearest(self, method: Method, runs: Callable[[Method], bool]) -> Method | None:
        """Return what comes nearest of what runs: itself, perhaps, with its own options."""
        near = (method, *(self[name] for name in method.instead))
        return next((candidate for candidate in near if runs(candidate)), None)

    def _installed(self) -> dict[str, Method]:
        if self._methods is None:
            self._methods = {method.name: method for method in self._find()}
        return self._methods

    def __getitem__(self, name: str) -> Method:
        try:
            return self._installed()[name]
        except KeyError:
            raise NeuroscopeError(
                f"There is no method “{name!s:.60}”; {nearest_names(str(name), self._installed())}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._installed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._installed())

    def __len__(self) -> int:
        return len(self._installed())


methods = Methods()
"""The methods that are installed."""
