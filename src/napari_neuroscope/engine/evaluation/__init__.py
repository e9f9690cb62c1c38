"""How good a network is, beside ground truth."""
