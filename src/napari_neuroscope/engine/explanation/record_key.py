"""Under what name the record of an explanation is kept."""

KEY = "neuroscope"
"""Under what name files and layers keep the record."""
