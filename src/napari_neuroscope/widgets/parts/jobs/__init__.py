"""Work that takes long: threads, progress, cancelling, and answers that come bit by bit."""
