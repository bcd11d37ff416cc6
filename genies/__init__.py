"""GENIES: how reward models generalize from where people can judge to where they cannot (arXiv 2311.07723)."""

__version__ = "0.1.0"
