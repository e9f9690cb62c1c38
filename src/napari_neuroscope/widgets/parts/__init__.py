"""Parts that docks share: none of them knows a dock."""
