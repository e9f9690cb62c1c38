"""What answers become in a viewer: layers that are added, changed in place, and follow the sliders.

`layer_manager.py` shows layer data, one layer a slot; `stack_follower.py` fits stacks to the
sliders. The others make layers of something: predictions, errors, curves, questions. How the
layers of an explanation look is said by its kinds of overlay, in `engine/explanation/overlays`;
what is made of something else gets a file here.
"""
