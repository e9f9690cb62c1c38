"""The dock “Evolution”: how much of each layer's map lies inside a region, through the network.

`shown_stack.py` finds the stack of layers that is looked at and takes its maps and the region from
the viewer, `plot.py` draws what `engine.evaluation.evolution` makes of them, and `dock.py` measures
anew where something else is shown.
"""
