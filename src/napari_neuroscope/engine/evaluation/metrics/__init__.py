"""The metrics of maps, a file each or a family: functions with `@metric`, which the registry finds here.

A new one is a new file, and nothing else: `evaluate`, the dock Evaluation, the command line and the
tables take it from the registry. It stands on the maps (`class_maps`), on the network's passes
(`engine/passes`), and on the methods where it asks one again.
"""
