"""What an answer is: its values, where they lie, how they were made, and how a viewer shows them."""
