"""What answers become in a viewer: layers that are added, changed in place, and follow the sliders.

`maps/` shows explanations, one at a time. The others make layers of something: predictions, errors, curves, questions. How the
layers of an explanation look is said by its kinds of overlay, in `engine/explanation/overlays`;
what is made of something else gets a file here.
"""
