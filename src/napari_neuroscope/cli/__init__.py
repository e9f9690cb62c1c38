"""The command line: a file a command, and `main`, which reads what is asked for and calls it.

A command is a function of the parsed arguments beside what adds these. `arguments` has what commands share;
`running` has them stop at ctrl-C. The engine is imported when a command runs, so that help costs nothing. A
new command is a file here, and a few lines in `main`.
"""
