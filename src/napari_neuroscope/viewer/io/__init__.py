"""What napari reads and writes for the plugin."""
