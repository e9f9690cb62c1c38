"""Images and their ground truth, paired by name.

`find_pairs` is the way in: `image_search` lists the files, `by_name` says which ground truth goes with
which image, and a `Pair` is what comes of it. Another rule of names is added to `by_name`.
"""
