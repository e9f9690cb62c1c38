"""Networks and the mathematics of explaining them; knows neither napari nor Qt.

The folders are floors, each of which imports from those below it alone: batch, evaluation, explain, results,
explanation and networks, methods and tiles, passes, frameworks and images, spec, graph, files. The way of a
question through them is told in CONTRIBUTING.md.
"""
