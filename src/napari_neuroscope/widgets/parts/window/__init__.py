"""How docks stand in napari's window: opened by name, as tabs beside one another, safe from the wheel."""
