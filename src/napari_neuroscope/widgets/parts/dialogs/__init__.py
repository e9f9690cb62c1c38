"""Dialogs that docks share: questions in plain text, trust in a file, and where something is saved.

A dialog belongs here as soon as two docks ask the same; what only one dock asks lies with it.
"""
