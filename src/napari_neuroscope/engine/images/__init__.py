"""Images: their axes, grids and spacing, what a network is given of them, and what is true of them."""
