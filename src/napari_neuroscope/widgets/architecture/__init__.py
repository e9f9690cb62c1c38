"""The dock that draws a network's layers."""
