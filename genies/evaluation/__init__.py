"""Evaluation of fitted interventions, metrics and their uncertainty."""
