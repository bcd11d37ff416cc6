"""Distributions, pairs, views, shifts, archives and the demo world."""
