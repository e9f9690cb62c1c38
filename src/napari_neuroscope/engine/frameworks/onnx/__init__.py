"""ONNX on ONNX Runtime.

`framework` answers for a file or a model in memory: `graph` says what its tensors are, a `session`
runs it. It stands on `files`, which look at what a file claims before anything is made of it, and on
`memory`, which keeps passes of files that nobody trusts within bounds. Nothing imports the packages
onnx and onnxruntime before there is a network, since both are slow to import.
"""
