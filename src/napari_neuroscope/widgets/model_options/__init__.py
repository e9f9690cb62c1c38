"""The dock “Model options”: what a network expects of an image and what its answers mean.

`form.py` has a field for each part of a `ModelSpec`, made by `spec_fields.py`; what is more than a
line or a box has a file of its own: `resizing_fields.py`, `normalization.py`, `class_table.py`.
`spec_texts.py` writes sizes and ranges as people do, `preview.py` shows the image as the network
gets it, and `dock.py` tries and saves what the fields say. A new part of a spec is a field in
`form.py`.
"""
