"""What ``import genies`` offers to programs and notebooks."""
