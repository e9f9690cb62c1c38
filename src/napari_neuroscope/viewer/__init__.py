"""napari without Qt: what is looked at in a viewer, and what answers become there.

Each folder knows those below it: `io` what napari reads and writes, `layers` what is shown, `state`
what the docks of a viewer share, `image` what is looked at. It stands on the engine, which says
without napari what the layers of an explanation are (`engine/explanation/overlays`).
"""
