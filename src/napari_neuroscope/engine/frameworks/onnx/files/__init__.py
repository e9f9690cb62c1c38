"""ONNX's files: `load` is the way in, `bounds` and `weights` say what a file may claim and name.

A file is looked through as protocol buffers before onnxruntime sees it, since that trusts what it says.
"""
