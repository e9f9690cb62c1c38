"""How good a network is, and how far its explanations can be believed.

Of the network: `confusion` counts classes taken for each other, `confusion_metrics` sums them up, and
`scoring` does so for many images. Of maps: `evaluate` asks the metrics in ``metrics/`` by their
registry; `partial_evaluation` does it metric by metric for a window. `consensus` joins maps, `evolution`
follows them through the layers, `channel_statistics` tells of a layer's channels. It stands on
`engine/explain`, since some metrics ask a method again. A new metric of maps is a file in ``metrics/``;
one of a confusion matrix is a line in `confusion_metrics`.
"""
