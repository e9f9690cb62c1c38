"""What a method is: what it needs and returns, its options, its passes, how it tiles.

`decorator.py` makes a function a `Method`, which is in `method_class.py`; `catalogue.py` has the
list of all methods, which knows none by name; `shared_options.py` has options that several
families offer alike. A family imports what it declares from here.
"""

from napari_neuroscope.engine.methods.interface.decorator import method
from napari_neuroscope.engine.methods.interface.family import FAMILIES, Family
from napari_neuroscope.engine.methods.interface.method_class import Method
from napari_neuroscope.engine.methods.interface.needs import Needs
from napari_neuroscope.engine.methods.interface.option import Choices, ChoiceWords, Option
from napari_neuroscope.engine.methods.interface.pass_count import (
    CHANNELS,
    Count,
    PassCount,
    Workload,
    count_of_option,
)
from napari_neuroscope.engine.methods.interface.result import Map, Step
from napari_neuroscope.engine.methods.interface.tiling import ChannelWeights, Local, Sums

__all__ = [
    "CHANNELS", "FAMILIES", "ChannelWeights", "ChoiceWords", "Choices", "Count", "Family", "Local", "Map", "Method",
    "Needs", "Option", "PassCount", "Step", "Sums", "Workload", "count_of_option", "method",
]  # fmt: skip
