"""`gan-explain train`: everything in checkpoints/ is made by these commands."""
