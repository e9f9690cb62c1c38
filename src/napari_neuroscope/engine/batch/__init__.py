"""A recipe over many images: planned, run here or on many machines, resumed, and summed up.

`run` is the way in. `work` is what is done with one image, in this process or, by `cluster` and
`local_cluster`, in others. All that lasts lies in the batch's `folder`: its `journal` says what became of
each image, so that a batch that was stopped goes on, and `summary` and `report` are written from it.
`process` runs a batch beside a program with windows. It stands on `engine/explain` for the maps, on
`engine/results` for their files, and on `engine/evaluation` for how right a prediction is. A new column of the
summary goes into `summary_row`.
"""
