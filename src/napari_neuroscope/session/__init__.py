"""What is chosen and asked in a window, without Qt.

`session` holds the choices, evented, so that docks bind to it and none knows another; the networks
to choose from are in `network_catalog`, what is known of the chosen one in `network_summary`. A
`question` is taken from the choices (`chosen_question`) when something is asked, and can be answered in any thread; how
much of the image it asks about is its extent: the shown plane, tiles or a crop of it
(`tiled_extent`), or several planes (`stack_extent`). `click_question` has what is asked besides the
form. All of this stands on `viewer`; what is computed is the engine's. Another way to be answered is
an `Extent` in a file of its own.
"""
