"""From a Keras model to a graph that is run operation by operation.

`trace` calls the model once with a symbolic input, while `recorder` names its layers; `graph` runs
what it left, `gradients` adds what is pulled back, `activations` says what guided backpropagation
goes through, and `final_activation` where the end is cut off. `traced_graph` holds all of it.
"""
