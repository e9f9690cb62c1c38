"""The dock that explains folders of images."""
