"""The dock with the list of images and their ground truth."""
