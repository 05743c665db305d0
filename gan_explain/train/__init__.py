"""Training: one loop, then one objective a file."""
