"""The dock “Images”: many images with their ground truth, predicted, scored and sorted.

`dock.py` brings its parts together: `form.py` is what is seen, `image_list.py` which images there
are, `image_table.py` their rows, `metric_columns.py` the columns, `scoring_jobs.py` what scores
them, and `pair_layers.py` the layers of the one that is shown. It stands on `widgets/parts`; the
inspector and the confusion matrix hear of it by the session alone. What else is to be done with all
images goes into a file of its own here, and a button of it into the form.
"""
