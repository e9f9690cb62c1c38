"""ONNX: `framework` answers for a graph, by sessions of ONNX Runtime."""
