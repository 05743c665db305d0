"""The audit's page: one HTML file that opens offline."""
