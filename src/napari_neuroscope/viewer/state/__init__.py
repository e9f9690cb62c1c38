"""What a viewer remembers."""
