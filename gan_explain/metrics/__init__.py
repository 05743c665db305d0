"""Measures, one a file: tensors in, one number a sample out. Aggregation and intervals live in `gan_explain.evaluate`."""
