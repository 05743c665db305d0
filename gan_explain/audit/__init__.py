"""The audit: how a CNN responds to pathology, how sure that is, and what else it responds to."""
