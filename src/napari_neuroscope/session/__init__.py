"""What is chosen and asked in a window, without Qt: a question can be asked in any thread."""
