"""Packages of bioimage.io: what they say of a network, and the network itself.

A package is read as data alone: `description` and `old_description` are the formats 0.5 and 0.4, `package`
finds files in a zip or folder, `package_spec` makes a spec of it, `weights` opens the network, and `published`
keeps what it can be held to. What compares a network with that is above, in `networks/check_published.py`.
"""
