"""The paper's own results."""
