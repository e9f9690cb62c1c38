"""The dock “Confusion matrix”: which class is taken for which, over all images of the list.

`plot.py` draws the matrix and tells where it is clicked, `dock.py` shows the pixels and images of
what is clicked. The scores and the image that is shown come by the session, from whoever has them.
"""
