"""What is looked at: an image's pixels, what of it is shown or in view, clicks, drawn regions.

`shown_image.py` says which part of an image layer a network takes, `image_pixels.py` where its
pixels lie in the world and in other layers. What is drawn or painted becomes a region of those
pixels: `layer_regions.py` is the choice, `drawn_shapes.py` and `painted_labels.py` the ways. A new
kind of region is a file beside these, and a line in `region_checks.kind_of`.
"""
