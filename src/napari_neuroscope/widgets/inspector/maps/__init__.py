"""What is done with a map that is there: saved, its recipe kept, its numbers read, explained anew.

Each button acts on the selected map, or else on the last one; `map_menu.py` offers the same where a
layer of a map is clicked in napari's list.
"""
