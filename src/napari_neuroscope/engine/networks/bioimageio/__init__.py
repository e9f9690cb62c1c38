"""Packages of bioimage.io: what they say of a network, and the network itself."""
