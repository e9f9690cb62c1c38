"""The plugin's section in napari's preferences."""

from __future__ import annotations

from dataclasses import dataclass

from napari_neuroscope.engine.networks.network import DEFAULT_CACHE_BYTES


@dataclass(frozen=True)
class Settings:
    """Where networks run, and how much memory their passes may hold."""

    device: str = "auto"
    cache_bytes: int = DEFAULT_CACHE_BYTES


def configured() -> Settings:
    """Return what the user has set; the defaults where napari has no plugin preferences."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        # napari before 0.9.
        return Settings()
    try:
        section = get_plugin_settings("napari-neuroscope").compute
        return Settings(str(section.device), int(section.cache_size * 2**20))
    except (AttributeError, KeyError, ValueError):
        # The manifest is not installed, as in a script that makes the dock by itself.
        return Settings()
