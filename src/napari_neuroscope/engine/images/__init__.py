"""Images: where they are read from, their axes and spacing, and what a network is given of them.

`formats/` opens files without reading them; a `Source` is an image that is read when it is needed, a
`Stack` one of more axes than a network takes. `axes` alone decides which axis is which. `preprocessing`
makes a network's input, of the steps in `value_range`, `resizing` and `normalization`; `grid` says where
its pixels lie. `ground_truth/` and `pairing/` are of what is true of images. Of a network no more is known
here than its spec. Another kind of file is a reader in `formats/`; another step of preparing an image is a
file here, that `preprocessing` calls.
"""
