"""PyTorch's files: pickles, checkpoints, TorchScript and exported programs."""
