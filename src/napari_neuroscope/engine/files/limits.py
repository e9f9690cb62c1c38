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
MOST_CLASSES = 100_000
"""Classes that a list names."""

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

MOST_PICKLE = 64 * MB
"""Bytes of a pickle that describes tensors; the tensors themselves lie beside it."""
MOST_PICKLE_OPERATIONS = 3_000_000
"""Operations of a pickle."""

MOST_IMAGE = 4 * GB
"""Bytes of a picture that is decoded whole, or of one chunk or tile of a larger one."""

TRIAL_SECONDS = 10.0
"""Seconds that a program in a file has for its trial, in a process of its own."""
TRIAL_MEMORY = 1536 * MB
"""Bytes of memory that it may take for that, beyond those of its own file."""
