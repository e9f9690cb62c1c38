"""Where a package of Python lies, found without running any of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import site
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_WITHIN_PYTHON = ("built-in", "frozen")


@dataclass(frozen=True)
class PythonPackage:
    """A package or module of the top level: what stands before the first dot of a name.

    Made by `PythonPackage.find`.

    Attributes
    ----------
    name
        Its name.
    origin
        The file that runs when it is imported; "built-in" or "frozen": within Python itself; None of a
        package without one.
    portions
        Where all of it lies: the file of a module, the folders of a package.
    """

    name: str
    origin: str | None
    portions: tuple[Path, ...]

    @classmethod
    def find(cls, name: str) -> PythonPackage | None:
        """Return the package of a name, or None where an import would find none."""
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, OSError):
            return None
        if spec is None:
            return None
        if spec.origin in _WITHIN_PYTHON:
            return cls(name, spec.origin, ())
        folders = spec.submodule_search_locations
        places = list(folders) if folders is not None else [spec.origin or ""]
        return cls(
            name, spec.origin, tuple(Path(os.path.abspath(place)) for place in places if place)
        )

    @property
    def is_standard(self) -> bool:
        """Whether it is part of Python's standard library, by where it lies."""
        if self.origin in _WITHIN_PYTHON:
            return True
        return bool(self.portions) and all(map(_is_standard, self.portions))

    @property
    def is_of_ours(self) -> bool:
        """Whether it is the package that this file is of, which runs already."""
        return self.name == __name__.partition(".")[0]

    @property
    def is_installed(self) -> bool:
        """Whether all of it was installed, and nothing of the current folder is in it."""
        return self.is_of_ours or self.is_standard or not self.strange_portions

    @property
    def strange_portions(self) -> tuple[Path, ...]:
        """Where it lies outside of all that was installed."""
        sites = _site_folders()
        strange = tuple(portion for portion in self.portions if not _is_in(portion, sites))
        if not strange:
            return ()
        # Projects that are worked on are installed in place.
        names = importlib.metadata.packages_distributions().get(self.name, [])
        projects = list(filter(None, map(_editable_folder, names)))
        return tuple(portion for portion in strange if not _is_in(portion, projects))

    @property
    def version(self) -> str:
        """The names and versions of what it was installed from."""
        names = importlib.metadata.packages_distributions().get(self.name, [])
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(names))


def _is_in(path: Path, folders: list[Path]) -> bool:
    with suppress(OSError, RuntimeError):
        return any(path.resolve().is_relative_to(folder) for folder in folders)
    return False


def _site_folders() -> list[Path]:
    """Return the folders that packages are installed into."""
    names = [*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if site.ENABLE_USER_SITE:
        names.append(site.getusersitepackages())
    return [Path(name).resolve() for name in names]


def _is_standard(portion: Path) -> bool:
    standard = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    # Python without an installer keeps it in a zip.
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    standard += [Path(sys.base_prefix).resolve() / part / zipped for part in ("", "lib")]
    return _is_in(portion, standard) and not _is_in(portion, _site_folders())


def _editable_folder(distribution: str) -> Path | None:
    """Return the folder of a project that was installed in place."""
    said = importlib.metadata.distribution(distribution).read_text("direct_url.json")
    try:
        origin = json.loads(said or "{}")
        if origin.get("dir_info", {}).get("editable"):
            return Path(url2pathname(urlsplit(origin["url"]).path)).resolve()
    except (ValueError, AttributeError, KeyError, OSError):
        pass
    return None
