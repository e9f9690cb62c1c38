"""The docks that explain: “Neuroscope”, and “Second network” beside it.

`inspector` says the steps: a network is looked at with an image, choices become a question, the
question is answered in the compute thread, and the answer is shown. What can be chosen is `form`,
laid out of a file for each of its fields: `network_choice`, `image_choice`, `extent_form`,
`slices_form`, `method_choice`, `layer_and_class_lists`, `target_form`. What is asked besides the
form is `ask_tool` (clicks) and `replay` (recipes, which `maps/` saves and opens);
`answer_view` shows and says what came of it. `second_network` has an inspector of its own and
compares its maps with the first's. All of it stands on the session, and on `widgets.parts`. Another
choice is a field of the session, and a widget that `form` lays out.
"""
