"""The dock “Activations”: the channels of a layer, their figures, and how they look.

`channel_table.py` lists the channels with what `engine.evaluation.channel_statistics` measures,
`tiles.py` draws some side by side, and `dock.py` measures anew where another layer, image, plane or
class is chosen, and adds channels over the image.
"""
