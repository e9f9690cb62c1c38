"""What is true of an image, read as the classes of a network, whatever it was written as.

`reader` is the way in; `kind` tells numbers of classes from those of instances, `class_colours` reads
colours. Another kind of ground truth is a `TruthKind` and a branch of the reader.
"""
