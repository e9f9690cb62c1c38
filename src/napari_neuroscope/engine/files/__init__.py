"""Files of strangers: what they are, how far they are read, and whether what they hold may run.

All that opens a file stands on this folder. It tells the kind of a file by its content
(`file_kind`), keeps its size, its nesting and its time within limits (`limits`, `bounded_file`,
`bounded_zip`, `plain_data`), asks for the user's trust where a file would run code (`trust`,
`factory`), tries programs that can't be looked through in a process of their own (`trial`), and
says in one sentence what went wrong (`told_in_a_sentence`). It also writes files whole or not at
all (`atomic_write`). Nothing here knows networks, images or frameworks.
"""
