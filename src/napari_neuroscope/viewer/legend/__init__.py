"""What colours on the canvas mean: the classes of labels, and the values of maps.

`legend_entries` says which classes are seen, `colour_bars` shows napari's bar of the map.
"""
