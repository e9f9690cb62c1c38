"""What opens the docks: the demo, recipes and saved results."""
