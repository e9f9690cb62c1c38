"""A pass of a network and what is read off it: targets, activations, gradients, variants.

`Model` is the one place where a framework is asked; `Trace` is one pass of one image, which serves every layer,
class and method, `GradientStore` what was pulled back through it, `TraceCache` what is kept of passes. `output/`
tells what the output means. What methods share and hangs on a pass, such as baselines, belongs here.
"""
