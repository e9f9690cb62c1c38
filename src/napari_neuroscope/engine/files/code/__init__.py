"""Code that a file names or holds: what it is, who trusts it, and trials in a process of its own."""
