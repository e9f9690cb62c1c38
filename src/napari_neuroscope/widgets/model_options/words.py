"""What is said of a network's options: what was found out, and what only the user can say."""

from __future__ import annotations

from collections.abc import Iterable

from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.spec.inference import unsaid


def found_out(network: Network, *, is_looked_at: bool) -> str:
    """Return what was found out about a network, which took a pass where it was looked at."""
    parts = [network.spec.task, f"{network.channels} channels"]
    if is_looked_at:
        parts.append(f"{len(network.class_names)} classes")
        if final := network.layers.final_activation:
            parts.append(f"ends in {final[1]}, cut off at “{final[0]}”")
        if (choice := network.output_choice) is not None and choice.is_of_several:
            parts.append(f"output “{choice.key}” of {len(choice.offered)}")
    return f"Found out: {', '.join(parts)}."


def still_unsaid(network: Network, touched: Iterable[tuple[str, ...]]) -> str:
    """Return what only the user can say, and has not said by the fields that were touched."""
    touched_names = {name for place in touched for name in place}
    left = [
        words
        for name, words in unsaid(network.stated, network.spec).items()
        if name not in touched_names
    ]
    return f"Only you can say: {', '.join(left)}." if left else "Nothing is left to say."
