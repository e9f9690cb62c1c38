"""Keras's files: .keras, .h5 and SavedModel.

`load` is the way in. What a stranger's file may hold is looked at before Keras builds anything of
it: `content` and `hdf5_checks` what lies in it, `configuration` what it would run, `weight_plan` how
much memory it would take. `keras_2` and `saved_model` bring what older versions wrote to Keras 3.
"""
