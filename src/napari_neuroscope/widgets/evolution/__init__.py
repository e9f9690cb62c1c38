"""The dock that follows a score over layers."""
