"""Docks and small views: they ask and show, and compute nothing."""
