"""The layers that answers become: maps, stacks, galleries and tables."""
