"""Weights that lie in a file beside an ONNX file: they stay within its folder, and are all there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import refuse_irregular
from napari_neuroscope.engine.files.reading.decoded_size import size_on_disk

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class WeightBeside:
    """A weight in another file.

    Attributes
    ----------
    location, offset, length
        The file, and which of its bytes, as they are written.
    needs
        How many bytes the weight takes.
    repeated
        Whether something of it is said twice, of which each program takes another.
    """

    location: str
    offset: str
    length: str
    needs: int
    repeated: bool

    def check(self, path: Path) -> int:
        """Return how many bytes it takes, where it can be read for an ONNX file.

        Raises
        ------
        NeuroscopeError
            Where it lies elsewhere, is missing, or is not whole.
        """
        name = shortened(path.name, 200)
        what = f"weights in “{shortened(self.location)}”"
        if self.repeated or not self.location.isprintable():
            raise NeuroscopeError(
                f"“{name}” names {what} in a way that can't be; download or export it again."
            )
        place = self._place(path, name, what)
        size = place.stat().st_size
        first, last = self._range(size)
        if not 0 <= first <= last <= size or last - first < self.needs:
            raise NeuroscopeError(
                f"“{name}” names {what} that this file doesn't hold; it was cut off, or is of "
                f"another network: download both again."
            )
        taken = size_on_disk(place)
        if self.needs > max(limits.ALWAYS_UNPACKED, limits.MOST_GROWTH * taken):
            raise NeuroscopeError(
                f"“{name}” names {what} of {self.needs:,} bytes, most of which are holes in a file "
                f"of {taken:,}; it is not opened."
            )
        return self.needs

    def _place(self, path: Path, name: str, what: str) -> Path:
        folder = path.absolute().parent.resolve()
        try:
            place = (folder / self.location).resolve()
            inside = place.is_relative_to(folder) and not Path(self.location).is_absolute()
            there = inside and place.exists() and not place.is_dir()
        except (OSError, ValueError, RuntimeError) as error:
            raise NeuroscopeError(
                f"“{name}” names {what}, which can't be looked at: {shortened(str(error), 160)}."
            ) from error
        if not inside:
            raise NeuroscopeError(
                f"“{name}” names {what}, outside of its own folder, and is not opened; put the "
                f"weights beside the file, as a file and not as a link."
            )
        if not there:
            raise NeuroscopeError(
                f"“{name}” names {what}, and there is no such file beside it; download it too."
            )
        refuse_irregular(place)
        return place

    def _range(self, size: int) -> tuple[int, int]:
        try:
            # More digits are no place in a file.
            first = int(self.offset[:40] or 0)
            return first, first + int(self.length[:40]) if self.length else size
        except ValueError:
            return -1, -1


def weight_beside(tensor: onnx.TensorProto) -> WeightBeside | None:
    """Return where a weight lies, if not in the model itself."""
    from napari_neuroscope.engine.frameworks.onnx.files.bounds import bytes_of

    if tensor.data_location != tensor.EXTERNAL and not tensor.external_data:
        return None
    said = {entry.key: entry.value for entry in tensor.external_data}
    return WeightBeside(
        said.get("location", ""),
        said.get("offset", ""),
        said.get("length", ""),
        bytes_of(tensor.data_type, math.prod(tensor.dims)),
        len(said) < len(tensor.external_data),
    )
