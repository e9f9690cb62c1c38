"""Files of strangers are read through these: regular, bounded, and inside of their own folder."""
