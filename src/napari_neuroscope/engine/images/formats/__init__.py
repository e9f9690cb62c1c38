"""How images are read from files: bounded in time and memory, and as RGB whatever their colours."""
