"""The stages of a run: one function each, called by rules, the command line and the Python API."""
