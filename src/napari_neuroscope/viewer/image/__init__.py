"""The image that is looked at: its pixels, the part in view, clicks and drawn regions."""
