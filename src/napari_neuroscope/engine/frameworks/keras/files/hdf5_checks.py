"""HDF5 files of strangers: what they hold lies in them, and is no larger than their bytes."""

from __future__ import annotations

import math
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits

# Others are programs that HDF5 looks for on this machine: gzip, shuffle, fletcher32, szip, nbit,
# scaleoffset, lzf.
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}


def refuse_unsafe_hdf5(file: Any, name: str, size: int) -> int:
    """Refuse an open HDF5 file that reads others, or unpacks to far more than it has.

    Parameters
    ----------
    file
        An open ``h5py.File``.
    name
        What people call it.
    size
        How many bytes it has.

    Returns
    -------
    int
        How many bytes all of its arrays take.

    Raises
    ------
    NeuroscopeError
        Where it is one.
    """
    import h5py

    total, count = 0, 0
    most = max(limits.ALWAYS_UNPACKED, limits.MOST_GROWTH * size)
    seen, waiting = set[Any](), [file["/"]]
    while waiting:
        group = waiting.pop()
        for key in group:
            count += 1
            if count > limits.MOST_ARRAYS:
                raise _refused(name, f"holds more than {limits.MOST_ARRAYS:,} parts")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise _refused(name, f"has a link “{shortened(key, 80)}” to elsewhere")
            inner = group[key]
            place = h5py.h5o.get_info(inner.id)
            if (place.fileno, place.addr) in seen:
                continue
            seen.add((place.fileno, place.addr))
            if isinstance(inner, h5py.Group):
                waiting.append(inner)
            elif isinstance(inner, h5py.Dataset):
                total += _bytes_of(inner, name)
                if total > most:
                    raise _refused(
                        name, f"of {size:,} bytes holds arrays that would take {total:,} bytes"
                    )
    return total


def _bytes_of(array: Any, name: str) -> int:
    title = shortened(str(array.name), 80)
    if array.external or array.is_virtual:
        raise _refused(name, f"has the values of “{title}” in another file")
    plist = array.id.get_create_plist()
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    if not filters <= _FILTERS:
        raise _refused(name, f"has “{title}” packed in a way that is not known")
    sizes = [math.prod(array.shape or ()), math.prod(array.chunks or ())]
    return max(sizes) * int(array.dtype.itemsize)


def _refused(name: str, reason: str) -> NeuroscopeError:
    return NeuroscopeError(
        f"“{shortened(name, 200)}” {reason}; such a file is not read: save the network anew."
    )


def text_attribute(file: Any, key: str, name: str) -> str | None:
    """Return a text that a file has beside its arrays; None where it has none.

    Raises
    ------
    NeuroscopeError
        Where it is no text, or too long.
    """
    if key not in file.attrs:
        return None
    attribute = file.attrs.get_id(key)
    value = file.attrs[key] if attribute.get_storage_size() <= limits.MOST_TEXT else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) or len(value) > limits.MOST_TEXT:
        raise _refused(name, f"has no text of a sensible length for “{key}”")
    return value
