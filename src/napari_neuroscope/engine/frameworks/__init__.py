"""All that knows one framework: a folder each, and what they share beside them.

`base` is the interface: a `Framework` answers for one model, and a `Run` is one forward pass of it.
Above this folder nobody names a framework: `registry` loads them by their entry points, ours as those
of other packages, and asks each which models and files are its own. So a new one is a package with
an entry point ``napari_neuroscope.frameworks``, or a folder here and a line in pyproject.toml; it
imports no other framework. docs/extending.md shows one, ``tests/example_framework`` is one.

What frameworks share needs none of them: `common` (axes, devices, refusals), `model_lock` and
`process_setting` (two threads at once), `activation_search` and `guided_notes` (guided
backpropagation), `output_choice`, `input_shape` and `byte_range` (what nobody stated).
"""
