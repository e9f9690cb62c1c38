"""Tiles of large images: where they lie, what is read for them, and whether they add up to the whole."""
