"""Small demonstration models and the sample images that belong to them."""
