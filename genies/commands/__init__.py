"""Verbs for work by hand."""
