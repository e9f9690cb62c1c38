"""The layers of a network and what their units see; frameworks make the graph, all above reads it.

`layer_graph` holds the layers in the order in which they run, and keeps what is derived of them
(`derived_once`), so that no question walks twice. `reach` is what a framework says of a layer; `topology`
and `unit_ranges` follow it back to the input, for `receptive_field` and, tile by tile, for `tile_reach`.
`token_layout` is of layers whose positions are not simply their last axes; `diagram` lays the graph out
to be drawn. It stands on `files` alone. What else follows from a graph is a file here, its function
decorated by `derived_once`.
"""
