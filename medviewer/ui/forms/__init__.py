"""Forms from parameter specs."""
