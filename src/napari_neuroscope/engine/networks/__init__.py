"""A network with its spec: loaded from a file, or of a model in memory."""
