"""napari's notifications, with words of a file as plain text."""

from __future__ import annotations

from napari.utils.notifications import show_error, show_info

from napari_neuroscope.widgets.parts.labels import plain_notice


def tell_error(text: str) -> None:
    """Show what went wrong at the window's edge."""
    show_error(plain_notice(text))


def tell(text: str) -> None:
    """Show a remark at the window's edge."""
    show_info(plain_notice(text))
