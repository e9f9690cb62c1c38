"""How much memory a pass takes, told before it runs.

`pass_sizes` infers the shapes of all tensors, with the `small_values` that shapes are computed of;
`pass_guard` refuses a pass by them, or has a network tried in a process of its own.
"""
