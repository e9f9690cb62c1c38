"""What a network expects and what its outputs mean: as stated, and as far as it is found out.

`model_spec` is the spec as people write it, `input_spec` the part about images; `inference` completes it
by asking the network, with images of `trial_sizes`, whose answers `answer_shape` reads. Names of classes
come from `class_files`. All above asks for what it needs of a network by its spec (`specified_network`).
A new field is added to the spec, with what finds it out in `inference`.
"""
