"""Keras on TensorFlow: `framework` answers for a model, by a graph that is traced once for a shape."""
