"""What builds a network: functions that the user names or gives, and classes that a file names."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, first_line, shortened
from napari_neuroscope.engine.files.code.model_class import (
    NotTriedError,
    in_words,
    may_be_tried,
    tried_class,
)
from napari_neuroscope.engine.files.code.package_code import PackageCode
from napari_neuroscope.engine.files.code.python_package import PythonPackage
from napari_neuroscope.engine.files.code.script import Script, is_script
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError


@dataclass(frozen=True)
class FileFactory:
    """What a file names to build its network with: a stranger's choice, also where it is installed.

    Attributes
    ----------
    name
        A class or function, as ``package.module:function``.
    path
        The file that names it.
    digest
        Returns the hash by which trust in the file is remembered.
    seal
        Returns that hash of what nobody can change any more, and what is then opened.
    trusted
        Whether the user has said that the file may run it.
    """

    name: str
    path: Path
    digest: Callable[[], str]
    seal: Callable[[], str]
    trusted: bool = False

    def require_trust(self, arguments: dict[str, Any]) -> None:
        """Ask for trust before anything is opened, where it is no class that may be tried.

        Raises
        ------
        UntrustedError
            Where it is not trusted.
        NeuroscopeError
            Where it is not there.
        """
        if is_script(self.name):
            self._trusted_script(arguments)
            return
        package = _package(self.name)
        if not self.trusted and not may_be_tried(self.name, arguments):
            self._trusted_code(package, arguments, "")

    def build(self, arguments: dict[str, Any]) -> Any:
        """Build the network: without trust only where `tried_class` allows it.

        Raises
        ------
        UntrustedError
            Where something else is named, and is not trusted.
        NeuroscopeError
            Where it is not there, or fails.
        """
        if is_script(self.name):
            script = self._trusted_script(arguments)
            return _called(script.call, self.name, arguments)
        package = _package(self.name)
        if self.trusted:
            return _called(_function(self.name), self.name, arguments)
        try:
            return _called(tried_class(self.name, arguments), self.name, arguments)
        except NotTriedError as refusal:
            code = self._trusted_code(package, arguments, refusal.reason)
        if code is not None:
            code.import_from_here()
        return _called(_function(self.name), self.name, arguments)

    def _trusted_script(self, arguments: dict[str, Any]) -> Script:
        """Return the script that is named, as it was trusted to be called so."""
        script = Script(self.name)
        sha256 = _together(self.digest(), script)
        if not self.trusted and sha256 not in TrustStore():
            words = f"it calls {shortened(self.name, 300)} with {in_words(arguments)}"
            raise UntrustedError(self.path, sha256, f"{words}; {script.would_run}")
        return script

    def _trusted_code(
        self, package: PythonPackage, arguments: dict[str, Any], reason: str
    ) -> PackageCode | None:
        """Return the code that runs, where it is in no installed package, once it is trusted."""
        code = None if package.is_installed else _code_of(package)
        words = f"it calls {self.name} with {in_words(arguments)}"
        # Most are not trusted, and are told so before anything is copied.
        for digest in (self.digest, self.seal):
            sha256 = _together(digest(), code)
            if sha256 not in TrustStore():
                would_run = f"{words}; {reason}" if reason else words
                raise UntrustedError(self.path, sha256, would_run)
        return code


def build(
    factory: str | FileFactory | Callable[..., Any],
    arguments: dict[str, Any] | None,
    *,
    trust: bool,
) -> Any:
    """Call a factory with its arguments.

    Parameters
    ----------
    factory
        A function, or its name as ``package.module:function`` or ``./script.py:function``, as the
        user gives it; or what a file names.
    arguments
        Its keyword arguments.
    trust
        Whether code may run that is in no installed package. What a file names is trusted by itself.

    Raises
    ------
    NeuroscopeError
        Where there is no such function, or it fails.
    UntrustedError
        Where it is in no installed package, and is not trusted; or where a file names it.
    """
    if isinstance(factory, FileFactory):
        return factory.build(arguments or {})
    if not isinstance(factory, str):
        return _called(factory, getattr(factory, "__qualname__", "?"), arguments or {})
    if is_script(factory):
        script = Script(factory)
        if not trust and script.sha256 not in TrustStore():
            raise UntrustedError(script.path, script.sha256, script.would_run)
        return _called(script.call, factory, arguments or {})
    package = _package(factory)
    if not trust and not package.is_installed:
        code = _code_of(package)
        if code.sha256 not in TrustStore():
            place = code.portions[0]
            words = f"the Python code in {place}, which is in no installed package"
            raise UntrustedError(place, code.sha256, words)
        code.import_from_here()
    return _called(_function(factory), factory, arguments or {})


def version_of(name: str) -> str:
    """Return what a factory's package was installed from; nothing where it was not installed."""
    package = PythonPackage.find(name.partition(":")[0].partition(".")[0])
    return "" if package is None else package.version


def _called(function: Callable[..., Any], name: str, arguments: dict[str, Any]) -> Any:
    try:
        return function(**arguments)
    except NeuroscopeError:
        raise
    except (Exception, SystemExit) as error:
        raise NeuroscopeError(
            f"The factory “{shortened(name)}” failed with {type(error).__name__}: "
            f"{shortened(first_line(error), 200)}; check {in_words(arguments)}."
        ) from error


def _package(name: str) -> PythonPackage:
    """Return the package of a factory, which is looked for, not imported: importing runs it."""
    module, colon, function = name.partition(":")
    parts = [*module.split("."), *function.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise NeuroscopeError(
            f"The factory “{shortened(name)}” needs the form package.module:function, or that "
            f"of a script, ./script.py:function."
        )
    top = parts[0]
    package = PythonPackage.find(top)
    if package is None:
        raise NeuroscopeError(
            f"The factory “{shortened(name)}” needs the package “{shortened(top)}”, which is not "
            f"installed; install it into this environment."
        )
    return package


def _function(name: str) -> Callable[..., Any]:
    if _package(name).is_standard:
        raise NeuroscopeError(
            f"“{shortened(name)}” is of Python's standard library, in which nothing builds a "
            f"network; name a class or function that does."
        )
    module_name, _, function_name = name.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise NeuroscopeError(
            f"There is no factory “{shortened(name)}”: {shortened(first_line(error), 200)}."
        ) from error
    except (Exception, SystemExit) as error:
        raise NeuroscopeError(
            f"The module of the factory “{shortened(name)}” failed with {type(error).__name__}: "
            f"{shortened(first_line(error), 200)}."
        ) from error
    if not callable(target):
        kind = type(target).__name__
        raise NeuroscopeError(f"“{shortened(name)}” is a {kind}, no function or class.")
    function: Callable[..., Any] = target
    return function


def _code_of(package: PythonPackage) -> PackageCode:
    return PackageCode(package.name, package.strange_portions)


def _together(digest: str, code: PackageCode | Script | None) -> str:
    """Return the hash of a file, and of code beside it."""
    if code is None:
        return digest
    return hashlib.sha256(f"{digest}\0{code.sha256}".encode()).hexdigest()
