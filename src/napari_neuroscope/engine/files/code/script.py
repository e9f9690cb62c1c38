"""Scripts of Python that build a network, such as the ``unet.py`` beside its weights."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, first_line, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.held_source import HeldSourceLoader
from napari_neuroscope.engine.files.reading.bounded_file import read_bytes

_FORM = re.compile(r"(?P<path>.+\.py):(?P<function>[^:\\/]+)", re.DOTALL)
_MOST_NEIGHBOURS = 200


def is_script(name: str) -> bool:
    """Whether a factory is named by a script's path, as ``./unet.py:UNet``, not by a package."""
    match = _FORM.fullmatch(name)
    # What is called py may be the module of a package.
    return match is not None and ("/" in name or os.sep in name or Path(match["path"]).is_file())


def found_script(name: str, folder: Path) -> str:
    """Return the name of a factory, with the whole path where it is in a script.

    Parameters
    ----------
    name
        Such as ``./unet.py:UNet``, ``/home/me/unet.py:UNet``, or ``package.module:function``.
    folder
        Where a script is looked for that isn't in the current folder: that of the weights.
    """
    match = _FORM.fullmatch(name)
    if match is None:
        return name
    path = Path(match["path"]).expanduser()
    places = [path] if path.is_absolute() else [Path.cwd() / path, folder.absolute() / path]
    there = next((place for place in places if place.is_file()), None)
    if there is None:
        # It may be a package with a module named py.
        return f"{places[-1]}:{match['function']}" if is_script(name) else name
    return f"{os.path.normpath(there)}:{match['function']}"


def script_beside(name: str, folder: Path) -> str:
    """Return the name of a factory as it is said in a file of a folder."""
    match = _FORM.fullmatch(name)
    if match is None or not Path(match["path"]).is_absolute():
        return name
    try:
        inner = Path(match["path"]).relative_to(folder.absolute()).as_posix()
    except ValueError:
        return name
    return f"./{inner}:{match['function']}"


class Script:
    """A script, and the modules beside it that it imports, as they were when it was made.

    Parameters
    ----------
    name
        Its path and what is called in it, as ``/home/me/unet.py:UNet``.

    Attributes
    ----------
    path
        The script.
    sha256
        The hash of what runs: its text, its place, and those of its neighbours.

    Raises
    ------
    NeuroscopeError
        Where it can't be read.
    """

    def __init__(self, name: str) -> None:
        match = _FORM.fullmatch(name)
        assert match is not None
        self.path, self._function = Path(match["path"]), match["function"]
        if not self.path.is_file():
            raise NeuroscopeError(
                f"There is no script {shortened(str(self.path), 300)}, in which the factory "
                f"“{shortened(self._function)}” was looked for; say where it lies."
            )
        self._source = read_bytes(self.path, limits.MOST_TEXT)
        self._neighbours: dict[str, tuple[Path, bytes]] = {}
        self._take_neighbours(self._source)
        digest = hashlib.sha256(os.fsencode(self.path.resolve()) + b"\0")
        digest.update(hashlib.sha256(self._source).digest())
        for module, (_, source) in sorted(self._neighbours.items()):
            digest.update(module.encode() + b"\0" + hashlib.sha256(source).digest())
        self.sha256 = digest.hexdigest()

    @property
    def would_run(self) -> str:
        """What would run, as the end of a sentence."""
        more = (
            f" and of {', '.join(sorted(self._neighbours))} beside it" if self._neighbours else ""
        )
        return f"the Python code of {self.path}{more}"

    def call(self, /, **arguments: Any) -> Any:
        """Run the script, and call what is named in it.

        Raises
        ------
        NeuroscopeError
            Where there is no such function, or the script fails.
        Exception
            What the function raises.
        """
        with self._importable():
            target: Any = self._run()
            for part in self._function.split("."):
                target = getattr(target, part, None)
            if not callable(target):
                raise NeuroscopeError(
                    f"The script “{shortened(self.path.name)}” has no function or class "
                    f"“{shortened(self._function)}”; name one that builds the network."
                )
            return target(**arguments)

    def _run(self) -> ModuleType:
        module = ModuleType(f"neuroscope_script_{self.sha256[:16]}")
        module.__file__ = str(self.path)
        # Data classes and pickles look for their module.
        sys.modules[module.__name__] = module
        try:
            exec(compile(self._source, str(self.path), "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[module.__name__]
            raise NeuroscopeError(
                f"The script “{shortened(self.path.name)}” failed with {type(error).__name__}: "
                f"{shortened(first_line(error), 200)}."
            ) from error
        return module

    def _take_neighbours(self, source: bytes) -> None:
        try:
            names = _imported(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            # It is told when it runs.
            return
        for name in names:
            path = self.path.parent / f"{name}.py"
            if name in self._neighbours or path == self.path or not path.is_file():
                continue
            if len(self._neighbours) >= _MOST_NEIGHBOURS:
                raise NeuroscopeError(
                    f"The script “{shortened(self.path.name)}” imports more than "
                    f"{_MOST_NEIGHBOURS} modules beside it, too many to look through; install them "
                    f"as a package."
                )
            self._neighbours[name] = path, read_bytes(path, limits.MOST_TEXT)
            self._take_neighbours(self._neighbours[name][1])

    @contextmanager
    def _importable(self) -> Iterator[None]:
        """Let the script import its neighbours, as they were read, and nobody else."""
        finder = _Finder(self._neighbours)
        others = {name: sys.modules.pop(name) for name in self._neighbours if name in sys.modules}
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name in self._neighbours:
                sys.modules.pop(name, None)
            sys.modules.update(others)


class _Finder(MetaPathFinder):
    def __init__(self, modules: dict[str, tuple[Path, bytes]]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._modules:
            return None
        file, source = self._modules[fullname]
        return spec_from_loader(fullname, HeldSourceLoader(fullname, str(file), source))


def _imported(tree: ast.AST) -> list[str]:
    """Return the names of the outermost modules that a script imports."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return [name for name in names if "." not in name]
