"""`gan-explain bench`: whole procedures, many trainings or many methods side by side."""
