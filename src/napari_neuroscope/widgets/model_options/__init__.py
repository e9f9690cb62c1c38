"""The dock of a model's options: what it expects, as its spec says."""
