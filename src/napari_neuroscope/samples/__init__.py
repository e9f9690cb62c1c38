"""Networks and images of the demonstration, shipped with the package.

Each folder holds the weights, the card and the images of one network; `architectures` builds them. They are
opened by name, such as ``demo:nuclei``, and serve the tests as real data. Nothing of the package is imported
here.
"""
