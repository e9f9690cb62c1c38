"""What opens the docks from outside of them: the demo, recipes that are dropped, saved results.

It stands above all docks and is known to none; `napari.yaml` and the command line name what is here.
Another way into the window is a file here.
"""
