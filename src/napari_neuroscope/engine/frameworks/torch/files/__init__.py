"""PyTorch's files, opened without running what nobody trusts.

`load` knows the kinds: pickles of weights or networks (`pickles`, and `checkpoint`, which fits
weights into a network), TorchScript (`script` and the four files beside it) and programs of
``torch.export`` (`exported`). Each is looked through first, as it lies in its `archive`; what would
run code is asked about. An operator that TorchScript may use belongs into `script_operators`.
"""
