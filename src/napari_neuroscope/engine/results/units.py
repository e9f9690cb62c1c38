"""The units of lengths and times, by all names that people and files give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Unit:
    """A unit of length or time.

    Attributes
    ----------
    name
        As pint, UDUNITS and OME-Zarr write it, such as "micrometer".
    symbol
        As OME-TIFF and people write it, such as "µm".
    kind
        What it measures.
    size
        How many metres or seconds it is.
    """

    name: str
    symbol: str
    kind: Literal["length", "time"]
    size: float


_UNITS = (
    Unit("picometer", "pm", "length", 1e-12),
    Unit("angstrom", "Å", "length", 1e-10),
    Unit("nanometer", "nm", "length", 1e-9),
    Unit("micrometer", "µm", "length", 1e-6),
    Unit("millimeter", "mm", "length", 1e-3),
    Unit("centimeter", "cm", "length", 1e-2),
    Unit("meter", "m", "length", 1.0),
    Unit("kilometer", "km", "length", 1e3),
    Unit("inch", "in", "length", 0.0254),
    Unit("nanosecond", "ns", "time", 1e-9),
    Unit("microsecond", "µs", "time", 1e-6),
    Unit("millisecond", "ms", "time", 1e-3),
    Unit("second", "s", "time", 1.0),
    Unit("minute", "min", "time", 60.0),
    Unit("hour", "h", "time", 3600.0),
    Unit("day", "d", "time", 86400.0),
)
_BY_NAME = {name: unit for unit in _UNITS for name in (unit.name, unit.symbol)}
# The Greek letter is another character than the micro sign, and many keyboards have neither.
_BY_NAME |= {"um": _BY_NAME["µm"], "μm": _BY_NAME["µm"], "micron": _BY_NAME["µm"],
             "us": _BY_NAME["µs"], "μs": _BY_NAME["µs"], "sec": _BY_NAME["s"]}  # fmt: skip


def unit_of(name: str) -> Unit | None:
    """Return the unit that a text names; None for pixels, and for what is neither length nor time."""
    name = name.strip()
    return _BY_NAME.get(name) or _BY_NAME.get(name.replace("metre", "meter").lower().rstrip("s"))
