"""The cache: tokens, activations, fitted interventions, and who uses them."""
