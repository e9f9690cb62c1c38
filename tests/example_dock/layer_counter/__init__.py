"""How many layers the chosen network has, in a dock of its own."""
