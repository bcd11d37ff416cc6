"""Tokens, token trees, the packed forward pass and the activation store."""
