"""What the docks of one viewer share for as long as it lives, and what its layers show.

`viewer_state.py` keeps one object of a class a viewer; a new thing to share is a class that needs no
arguments. `layer_origin.py` says of a layer which explanation it shows, and of what.
"""
