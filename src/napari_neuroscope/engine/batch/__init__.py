"""A recipe over many images: planned, run here or on many machines, resumed, and summed up."""
