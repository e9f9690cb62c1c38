"""The dock that shows the channels of a layer."""
