"""PyTorch's zip archives, read as PyTorch itself would read them."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.code.pickle_values import StoredNumbers
from napari_neuroscope.engine.files.reading.bounded_file import open_regular
from napari_neuroscope.engine.files.reading.bounded_zip import BROKEN, open_zip_in, read_entry

_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"
_LOCATOR_64 = b"PK\x06\x07"

_BYTES = {
    "Untyped": 1, "Byte": 1, "Char": 1, "Bool": 1, "QInt8": 1, "QUInt8": 1, "QUInt4x2": 1,
    "QUInt2x4": 1, "Half": 2, "BFloat16": 2, "Short": 2, "UInt16": 2, "Float": 4, "Int": 4,
    "UInt32": 4, "QInt32": 4, "Double": 8, "Long": 8, "UInt64": 8, "ComplexFloat": 8,
    "ComplexDouble": 16,
}  # fmt: skip
"""How many bytes a number takes in a storage, by the storage's kind: ``FloatStorage``."""


class TorchArchive(NamedTuple):
    """An open archive.

    Attributes
    ----------
    path
        The file.
    file, zip
        The same, open.
    root
        The folder in it that holds everything.
    records
        Its files by their names without the root, in small letters: PyTorch doesn't tell capital
        letters from small ones.
    """

    path: Path
    file: BinaryIO
    zip: zipfile.ZipFile
    root: str
    records: dict[str, zipfile.ZipInfo]

    def read(self, record: str, most: int) -> bytes:
        """Return a file of the archive of a bounded size.

        Raises
        ------
        NeuroscopeError
            Where it is not there, is broken, or has more than `most` bytes.
        """
        entry = self.records.get(record.lower())
        name = f"{self.root}/{record}" if entry is None else entry.filename
        return read_entry(self.zip, name, most, self.path.name)

    def refuse_what_is_not_stored(self, stored: Iterable[StoredNumbers], folder: str) -> None:
        """Refuse tensors that claim more than the archive holds of them.

        PyTorch takes what a pickle says of their size, and would read beyond their end.

        Raises
        ------
        NeuroscopeError
            Where there are such.
        """
        for numbers in stored:
            entry = self.records.get(f"{folder}/{numbers.key}".lower())
            size = bytes_of(numbers)
            # A name in other letters would be read, and held, once more for each.
            if (
                entry is None
                or size is None
                or not entry.filename.endswith(f"/{folder}/{numbers.key}")
                or not 0 <= size <= entry.file_size
            ):
                raise NeuroscopeError(
                    f"“{self.path.name}” is broken: a tensor claims {numbers.numbers:,} numbers of "
                    f"“{shortened(str(numbers.key), 40)}”, which it doesn't hold; download or save it "
                    f"again."
                )

    def write_copy(self, target: Path, keeps: Callable[[str], bool]) -> None:
        """Write a new archive of the same files, so that there is one way to read it.

        Raises
        ------
        NeuroscopeError
            Where it is broken, or there is no place for the copy.
        """
        try:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
                for record, entry in self.records.items():
                    if not keeps(record):
                        continue
                    plain = zipfile.ZipInfo(entry.filename)
                    plain.file_size = entry.file_size
                    with self.zip.open(entry) as source, copy.open(plain, "w") as to:
                        shutil.copyfileobj(source, to, 1 << 20)
        except BROKEN as error:
            raise NeuroscopeError(
                f"“{self.path.name}” is a broken zip archive, or can't be copied to "
                f"{target.parent} ({shortened(str(error), 160)}); download or save it again."
            ) from error


def bytes_of(stored: StoredNumbers) -> int | None:
    """Return how many bytes numbers take that lie beside a pickle; None where that is unknown."""
    kind = stored.kind.rpartition(".")[2].removesuffix("Storage")
    return None if kind not in _BYTES else _BYTES[kind] * stored.numbers


@contextmanager
def open_torch_archive(path: Path) -> Iterator[TorchArchive]:
    """Open an archive that PyTorch reads in no other way than Python does.

    Raises
    ------
    NeuroscopeError
        Where it is broken, would unpack to more than the limits, or can be read in two ways.
    """
    with open_regular(path) as file, open_zip_in(file, path.name) as archive:
        _refuse_another_end(file, path.name, len(archive.infolist()))
        names = archive.namelist()
        (often, times), *_ = Counter(name.lower() for name in names).most_common(1) or [("", 0)]
        if times > 1:
            raise NeuroscopeError(
                f"The zip “{path.name}” has two files named “{shortened(often, 100)}” in capital "
                f"or small letters, which PyTorch doesn't tell apart; such an archive is not read."
            )
        root = names[0].partition("/")[0] if names else ""
        records = {
            entry.filename.lower().removeprefix(f"{root}/".lower()): entry
            for entry in archive.infolist()
            if entry.filename.lower().startswith(f"{root}/".lower())
        }
        yield TorchArchive(path, file, archive, root, records)


def _refuse_another_end(file: BinaryIO, name: str, count: int) -> None:
    """Refuse an archive whose list of files PyTorch may look for at another place than Python."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 98))
    tail = file.read()
    end = tail[-22:]
    regular = len(end) == 22 and end.startswith(_END)
    if regular:
        *_, entries, listed, offset, comment = struct.unpack("<4s4H2LH", end)
        place = size - 22
        if tail[-42:-38] == _LOCATOR_64:
            place -= 76
            record = tail[-98:-42]
            (said,) = struct.unpack("<Q", tail[-34:-26])
            regular = said == place and len(record) == 56 and record.startswith(_END_64)
            if regular:
                entries, listed, offset = struct.unpack("<3Q", record[32:56])
        regular = regular and comment == 0 and offset + listed == place and entries == count
    if not regular:
        raise NeuroscopeError(
            f"“{name}” doesn't end as PyTorch's archives do; download or save it again."
        )
