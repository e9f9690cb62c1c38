"""Networks and the mathematics of explaining them; knows neither napari nor Qt."""
