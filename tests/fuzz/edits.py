"""Edits that make a broken or hostile file of a good one, drawn by hypothesis."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

_NUMBERS = [
    *(n.to_bytes(size, order, signed=n < 0)
      for size in (1, 2, 4, 8)
      for order in ("little", "big")
      for n in (0, 1, -1, (1 << (8 * size - 1)) - 1, -(1 << (8 * size - 1)))),
]  # fmt: skip
_WORDS = [
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"1e308", b"99999999999999999999", b"[]", b"{}",
    b'""', b"'", b'"', b"\\", b"&a ", b"*a", b"!!python/name:os.system", b"2001-99-99", b"0x", b"0b",
    b"<b>", b"\x1b[31m", b"\xe2\x80\xae", b"\xff\xfe", b"\0", b"\n", b"\t", b":", b"- ", b"? ", b"../",
    b"/dev/zero", b"[" * 300, b"{a: " * 300, b"a" * 5000,
]  # fmt: skip

# Where in a file, as a part of its length, so that a smaller file takes the same edits.
_places = st.floats(0, 1, exclude_max=True)
_kinds = st.sampled_from(["set", "number", "word", "delete", "copy", "insert", "cut"])
_edit = st.tuples(_kinds, _places, _places, st.integers(0, 255), st.integers(0, 1 << 16))
byte_edits = st.lists(_edit, min_size=1, max_size=6)
"""Some edits of bytes: values, lengths, words, parts that are gone or twice, an end that is cut off."""


def edited(content: bytes, edits: list[Any]) -> bytes:
    """Return bytes after some edits."""
    data = bytearray(content)
    for kind, place, other, value, number in edits:
        at, to = int(place * len(data)), int(other * len(data))
        if kind == "set" and data:
            data[at] = value
        elif kind == "number":
            new = _NUMBERS[number % len(_NUMBERS)]
            data[at : at + len(new)] = new
        elif kind == "word":
            new = _WORDS[number % len(_WORDS)]
            data[at : at + value % 8] = new
        elif kind == "delete":
            del data[at : at + 1 + value]
        elif kind == "copy":
            data[to:to] = data[at : at + 1 + number % 4096]
        elif kind == "insert":
            data[at:at] = bytes([value]) * (1 + number % 64)
        elif kind == "cut":
            del data[at:]
    return bytes(data)


def edit_file(path: Path, edits: list[Any], which: float) -> None:
    """Edit a file, a part of a zip archive, or one of the files of a folder.

    Parameters
    ----------
    path
        What is edited.
    edits
        As `edited` takes them.
    which
        Which part, as a part of all; an archive is edited as a whole in a quarter of the cases.
    """
    if path.is_dir():
        inner = sorted(p for p in path.rglob("*") if p.is_file())
        edit_file(inner[int(which * len(inner))], edits, which)
        return
    content = path.read_bytes()
    if which < 0.75 and zipfile.is_zipfile(path):
        path.write_bytes(_in_archive(content, lambda part: edited(part, edits), which / 0.75))
    else:
        path.write_bytes(edited(content, edits))


def _in_archive(content: bytes, change: Callable[[bytes], bytes], which: float) -> bytes:
    """Return an archive with one of its files changed, so that its sums are right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = names[int(which * len(names))]
        for name in names:
            data = old.read(name)
            new.writestr(name, change(data) if name == chosen else data)
    return out.getvalue()


def copied(source: Path, target: Path) -> Path:
    """Return a fresh copy of a file or folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.unlink(missing_ok=True) if target.is_file() else None
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target
