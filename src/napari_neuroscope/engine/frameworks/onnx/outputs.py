"""Which output of an ONNX network is explained."""

from __future__ import annotations

from collections.abc import Mapping

from napari_neuroscope.engine.errors import NeuroscopeError


def choose_output(holds_numbers: Mapping[str, bool], index: int | str | None) -> str:
    """Return the name of the output that is explained.

    Parameters
    ----------
    holds_numbers
        The outputs in order, and whether each holds real numbers.
    index
        Which the spec states.
    """
    names = list(holds_numbers)
    if index is None:
        floats = [name for name in names if holds_numbers[name]]
        usual = [name for name in ("out", "logits") if name in floats]
        index = next(iter([*usual, *floats, *names]))
    if isinstance(index, int) and -len(names) <= index < len(names):
        index = names[index]
    if index not in names:
        raise NeuroscopeError(
            f"The network has no output “{index}”: its outputs are "
            f"{', '.join(f'“{name}”' for name in names)}; set the spec's output.index."
        )
    if not holds_numbers[str(index)]:
        raise NeuroscopeError(
            f"The network's output “{index}” holds whole numbers, such as labels; set the "
            f"spec's output.index to the output that holds scores, or export the network "
            f"without argmax."
        )
    return str(index)
