"""Language models: where they are, what pins them, and how they are loaded."""
