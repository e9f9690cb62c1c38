"""Under what name and in which form files and layers keep the record of an explanation."""

KEY = "neuroscope"
"""Under what name files and layers keep the record."""
FORMAT = 1
"""The newest form of records that is understood here."""
