"""A pass of a network and what is read off it: outputs, targets, activations, gradients, variants."""
