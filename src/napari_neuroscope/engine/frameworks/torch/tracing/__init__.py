"""What is seen as a PyTorch network runs; nothing here runs one.

`recorder` names each call of a module or function and tells a `PassObserver`: `layer_recorder`
gathers the layers (with `positions` and `reach`, where their values lie on the image),
`activation_keeper` keeps what they put out, and `resume` answers for those that need not run again.
`attention` looks at attention alone. Layers are known by their edges in the autograd graph, which
stay right whatever an operation in place does to their values afterwards.

A new kind of module or function belongs into `operations` (what it is called), `reach` (what it
sees) and `positions` (what it does to places).
"""
