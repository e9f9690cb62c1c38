"""What a network expects and what its outputs mean: as stated, and as far as it is found out."""
