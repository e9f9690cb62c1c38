"""The command line: one file a command; `main` reads what is asked for and calls it."""
