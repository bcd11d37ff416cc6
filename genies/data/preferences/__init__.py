"""Preference sets as others publish them, turned into distributions."""
