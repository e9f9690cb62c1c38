"""A network with its spec: loaded from a file, or of a model in memory.

`Network` adds to `passes.model.Model` what outlives a question: the passes that are kept, where it was opened
from, and what its package says. `load` opens files, `bioimageio/` packages; a new kind of package is a folder
beside that one. It stands on passes, methods (which of them can be used) and tiles.
"""
