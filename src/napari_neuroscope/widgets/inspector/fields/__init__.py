"""The fields of the inspector's form: each follows and changes one choice of the session.

`form.py` beside this folder lays them out. Another choice is a field of the session, and a file here.
"""
