"""Docks and small views: they ask and show, and compute nothing.

A folder a dock; none knows another, and all stand on `parts/`, which has what two docks share. What is chosen
and asked is in `session`, what is shown in `viewer`. A new dock is a folder here and a line in `napari.yaml`.
"""
