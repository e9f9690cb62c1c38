"""Explanations to napari layers and back: where a map lies and how it looks. Knows no Qt."""
