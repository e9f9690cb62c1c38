"""The layers of a network and what their units see."""
