"""All that knows one framework, one file each."""
