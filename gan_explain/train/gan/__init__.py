"""Adversarial trainings: losses, and one generator against its discriminator a file."""
