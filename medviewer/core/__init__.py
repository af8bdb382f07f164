"""Values and observable models. Imports NumPy and psygnal, nothing else."""
