"""Interventions that read texts with a model of their own: what they are given, training, and scoring."""
