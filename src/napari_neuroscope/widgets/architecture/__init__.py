"""The dock “Architecture”: the network as a graph to look at, search and choose layers from.

`scene.py` draws a diagram of `engine.graph.diagram` with `palette.py`'s shapes and colours, and
`view.py` is what is zoomed, clicked and walked. `toolbar.py` is the row above it, `legend.py` the
kinds of layers, `search.py` what is looked for, `layer_properties.py` what is said of one layer,
and `export.py` writes the graph to a file. `dock.py` keeps them and the session in step.
"""
