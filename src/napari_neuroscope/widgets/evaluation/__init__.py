"""The dock “Evaluation”: which explanation can be believed, measured, compared and joined.

`choice.py` asks for maps, methods, metrics and the ground truth, of which `case.py` is taken at one
moment. `metric_jobs.py` measures it metric by metric with `engine.evaluation`; `results.py` shows
what there is so far: `metric_table.py` the figures, `plot.py` the curves, `result_layers.py` what
measuring saw over the image. A metric itself is of `engine.evaluation.metrics`, and is offered here
as soon as it is registered.
"""
