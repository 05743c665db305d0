"""Networks: one concept a file, a flat configuration each."""
