"""Keras 3 on TensorFlow.

`framework` answers for a model: it has it traced for each shape of input (`tracing`), runs the
graph for a question, and `run` pulls back through it. `files` opens what others saved, and asks
before it runs code of it. Beside them lies what knows Keras or TensorFlow in one respect each: its
arrays, device, weights, errors, and what it takes and gives.
"""
