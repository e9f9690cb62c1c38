"""The methods, one file a family; each is one function of a trace, a target and a layer."""

from napari_neuroscope.engine.methods.registry import Map, Method, Needs, method, methods

__all__ = ["Map", "Method", "Needs", "method", "methods"]
