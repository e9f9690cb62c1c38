"""The methods, a file a family of them; each is one function of a trace, a target and a layer.

`interface/` is what a method is: what it needs, returns and declares, and the decorator `@method`.
The families stand on that alone. `registry.py` knows them all, and those of other packages; a new
family is a file here and a name there (docs/extending.md shows a method from the outside).
"""

from napari_neuroscope.engine.methods.interface import Map, Method, Needs, method
from napari_neuroscope.engine.methods.registry import methods

__all__ = ["Map", "Method", "Needs", "method", "methods"]
