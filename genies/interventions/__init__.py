"""Interventions: one module each, found by its name."""
