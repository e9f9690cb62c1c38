"""Maps over regions: an attribution's mean on segments of the image, or on what is predicted.

`options.py` has the options that they share, `painting.py` how an attribution is painted over
segments; each family stands on both. The image is split in `engine/images/segments.py`.
"""
