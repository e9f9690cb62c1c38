"""What a network's output is: which one, how its axes lie, where it lies on the input, how it ends.

`Outputs` is one answer with its meaning; `OutputFinder` asks a model until the meaning is known. What is
told to a reader of it is in `passes/output_notes.py`, since that asks a whole `Model`.
"""
