"""Work that takes long: it is done in a thread, so that the window answers meanwhile.

A dock's `jobs` runs one job at a time, the latest asked for, in the `work_thread` that all docks
share; one that does not come back is left behind, and `program_end` ends without it. `soon` asks
again as choices change, `progressive_answer` shows maps while they refine, `long_work` says how long
it takes. What is computed is not known here.
"""
