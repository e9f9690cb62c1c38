"""ONNX's files: `load` is the way in, `bounds` and `weights` say what a file may claim and name."""
