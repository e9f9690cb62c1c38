"""What is seen as a PyTorch network runs: names, positions, reach and attention."""
