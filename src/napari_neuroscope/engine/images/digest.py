"""The digest that tells images apart in records and caches."""

from __future__ import annotations

import hashlib

import numpy as np


def image_digest(image: np.ndarray) -> str:
    """Return a hash of an image's values."""
    content = np.ascontiguousarray(image).data if image.size else b""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
