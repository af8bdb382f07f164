"""Questions, and what is shown once."""
