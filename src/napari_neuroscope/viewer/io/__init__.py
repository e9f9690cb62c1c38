"""What napari reads and writes for the plugin: saved explanations, batches, sample images.

`saved_layers.py` brings layers to saved explanations and back, `layer_look.py` how they look. Kinds of
files are the engine's (`engine/results`); a reader or writer of a new one is a function here and its
entry in `napari.yaml`.
"""
