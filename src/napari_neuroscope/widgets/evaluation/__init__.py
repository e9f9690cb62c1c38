"""The dock that tells how good explanations are."""
