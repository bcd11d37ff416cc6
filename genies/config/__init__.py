"""The configuration: its keys, how it is read, and what is generated from it."""
