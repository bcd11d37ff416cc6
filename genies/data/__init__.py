"""Distributions, pairs, views, shifts and archives."""
