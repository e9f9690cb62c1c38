"""Guided backpropagation: only positive gradient goes back through an activation.

PyTorch's own activations are met in `guided_mode`, by the operation that is their way back. Those
that are written by hand, as ``x * sigmoid(x)`` or a custom Function, have no such operation:
`elementwise` records once what each value of a pass is computed from, and `plan` says which nodes
of the graph are guided from then on. A new activation of PyTorch belongs into the tables of both.
"""
