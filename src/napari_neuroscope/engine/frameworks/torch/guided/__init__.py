"""Guided backpropagation through PyTorch's autograd graph."""
