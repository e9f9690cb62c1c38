"""What the inspector puts on the canvas beside maps: predictions, and a legend of colours."""
