"""Explanations as layers: which of them is seen, in which layer, with which words and contrast.

`layer_manager.py` shows layer data in place of what was shown last; `shown_maps.py` knows which map
is seen, kept or out of date; `stack_follower.py` names what is seen on the canvas and fits its
contrast; `answer_layers.py` shows an answer, also while it refines.
"""
