"""PyTorch: any ``torch.nn.Module``, in memory or from a file.

`framework.TorchFramework` is what a network asks; it names the steps, and each lies in a file.
`model_runner` passes an image forward, and leaves the model as it was. `layer_search` finds the
layers by such a pass; `run` keeps one with its gradients; `resumed_pass` goes on from a layer.
What is observed as a pass runs lies in `tracing`. Guided backpropagation (`guided`) and LRP (`lrp`)
go back through the same autograd graph in ways of their own. `files` opens networks of strangers.

It stands on the interface in ``frameworks/base.py``, and on no other framework. A step that needs
the model takes a `ModelRunner`; what only looks at calls is a `PassObserver` in `tracing`.
"""
