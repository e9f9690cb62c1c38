"""The docks that explain: “Neuroscope”, and “Second network” beside it.

`inspector` says the steps: a network is looked at with an image, choices become a question, the
question is answered in the compute thread, and the answer is shown. What can be chosen is `form`,
laid out of the fields in `fields/`. What is asked besides the form is `ask_tool` (clicks),
`cell_reason` (a cell of the confusion matrix) and `replay` (recipes, which `maps/` saves and opens);
`answer_view` shows and says what came of it, and `freshness` whether it still is what is chosen.
`canvas/` has the legend and the prediction. `second_network` has an inspector of its own and
compares its maps with the first's. All of it stands on the session, and on `widgets.parts`. Another
choice is a field of the session, and a widget that `form` lays out.
"""
