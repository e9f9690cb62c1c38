"""How much of a stranger's file is read before the user trusts it.

Each limit is far above what real files need; `docs/security.md` lists them. They are read when they
are used (``limits.MOST_TEXT``), so that tests can lower them.
"""

from __future__ import annotations

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30

MOST_TEXT = 16 * MB
"""Bytes of a text that is read whole: YAML, JSON, names of classes."""
MOST_NODES = 500_000
"""Values in a YAML or JSON text, after its aliases are replaced by what they stand for."""
MOST_DEPTH = 100
"""How deep lists and mappings of a text may lie in each other."""
MOST_CLASSES = 50_000
"""Classes that a list names; with their colours they are fewer values than a text may hold."""

MOST_ENTRIES = 20_000
"""Files in a zip archive."""
ALWAYS_UNPACKED = 256 * MB
"""Bytes that any zip archive may unpack to."""
MOST_GROWTH = 20
"""How many times its own size a larger archive may unpack to: weights hardly shrink."""
MOST_UNPACKED = 64 * GB
"""Bytes that no archive may unpack to."""

MOST_FILE = 256 * GB
"""Bytes of a network's file, or of one of its folder, that is hashed or copied."""

MOST_CODE = 1 * GB
"""Bytes of a package of Python code that is in no installed package, with all its files."""
MOST_ARGUMENTS = 1_000
"""Values that a file may give to what builds its network."""
MOST_LETTERS = 1_000
"""Letters of a name that a file gives: of a class, an axis, an argument."""

MOST_PICKLE = 64 * MB
"""Bytes of a pickle that describes tensors; the tensors themselves lie beside it."""
MOST_PICKLE_OPERATIONS = 3_000_000
"""Operations of a pickle."""

MOST_SOURCE = 4 * MB
"""Bytes of the source of a TorchScript program."""
MOST_GRAPH = 64 * MB
"""Bytes of the text that describes an exported program."""

MOST_IMAGE = 4 * GB
"""Bytes of a picture that is decoded whole, or of one chunk or tile of a larger one."""
ALWAYS_IMAGE = GB
"""Bytes that an image of any small file may decode to."""
MOST_IMAGE_GROWTH = 100
"""How many times its own size the file of a larger image may decode to."""
ALWAYS_CHUNK = 512 * MB
"""Bytes that one chunk or tile may decode to, however small it is."""
MOST_CHUNK_GROWTH = 20
"""How many times its own size a larger chunk or tile may decode to."""
MOST_CHUNKS = 100_000
"""Chunks that are read at once."""
MOST_FRAMES = 10_000
"""Frames of a moving picture."""
MOST_PAGES = 200_000
"""Pages of a TIFF file, and planes of a set of them."""
MOST_OME_XML = 32 * MB
"""Bytes of what a TIFF file says of itself in words."""
MOST_SET = 20_000
"""Files of a set, images of a plate and levels of an image."""

TRIAL_SECONDS = 10.0
"""Seconds that a program in a file has for its trial, in a process of its own."""
TRIAL_MEMORY = 1536 * MB
"""Bytes of memory that it may take for that, beyond those of its own file."""
LOOP_SECONDS = 60.0
"""Seconds that one pass of a network with loops may take where nobody can stop it."""

MOST_OPERATIONS = 50_000
"""Operations of an ONNX network, with those of its functions at each of their calls."""
MOST_SHAPE_NUMBERS = 200_000
"""Numbers of all shapes that an ONNX network computes."""
MOST_CONNECTIONS = 1_000_000
"""Connections between the layers of an ONNX network."""
MOST_TRIAL_IMAGE = 256 * MB
"""Bytes of the image of zeros that a network is tried with."""
ALWAYS_PASS = 256 * MB
"""Bytes that all layers of a network together may take in a trial, however small the image is."""
MOST_PASS_GROWTH = 10_000
"""How many times the image's bytes all layers of a network together may take beyond that."""

MOST_KERAS_LAYERS = 3_000
"""Layers of a Keras network, each counted as often as it is called."""
MOST_ARRAYS = 200_000
"""Groups and arrays of an HDF5 file."""
ALWAYS_WEIGHTS = 16 * MB
"""Bytes of weights that a Keras network may have beside those that its file holds."""
