"""Trust: nothing in a file runs without the user's word, which is remembered by the file's hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.atomic_write import write_whole


class UntrustedError(NeuroscopeError):
    """A file that would run code of its own, which the user has not allowed.

    Attributes
    ----------
    path
        The file.
    sha256
        The hash of its content, by which trust is remembered.
    would_run
        What it would run, in words.
    """

    def __init__(self, path: Path, sha256: str, would_run: str) -> None:
        super().__init__(
            f"“{path.name}” would run code of its own: {would_run}. If you trust where it comes "
            f"from, load it with trust=True (its SHA-256 is {sha256})."
        )
        self.path, self.sha256, self.would_run = path, sha256, would_run


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files of a folder with their names."""
    digest = hashlib.sha256()
    if path.is_dir():
        for inner in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(inner.relative_to(path).as_posix().encode() + b"\0")
            digest.update(bytes.fromhex(digest_of(inner)))
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class TrustStore:
    """The files that the user trusts, in the user's configuration folder.

    Parameters
    ----------
    path
        The JSON file that holds them; None: the usual place.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            from platformdirs import user_config_path

            path = user_config_path("napari-neuroscope") / "trusted.json"
        self.path = path

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._read()

    def add(self, sha256: str, name: str) -> None:
        """Remember that the user trusts a file of this hash."""
        known = {**self._read(), sha256: name}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, lambda part: part.write_text(json.dumps(known, indent=2), "utf-8"))


def require_trust(path: Path, would_run: str, *, trust: bool) -> None:
    """Let code of a file run only where the user has said so, now or before.

    Raises
    ------
    UntrustedError
        Where the user has not.
    """
    if trust:
        return
    sha256 = digest_of(path)
    if sha256 not in TrustStore():
        raise UntrustedError(path, sha256, would_run)
