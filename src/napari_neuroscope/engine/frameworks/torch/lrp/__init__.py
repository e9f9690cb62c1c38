"""Layer-wise relevance propagation through PyTorch's autograd graph."""
