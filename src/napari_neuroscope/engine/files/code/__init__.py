"""Code that a file names or holds: what it is, who trusts it, and trials in a process of its own.

`trust` asks, and remembers answers by the hash of what would run; `factory` calls what builds a network,
of a package (`python_package`, `package_code`), a `script` or a `model_class` that may be built on trial.
`pickle_calls` follows pickles without running them; `trial` runs what can't be looked through in another
process. Whatever would run a stranger's code asks here first, and runs what was hashed, nothing else.
"""
