"""Lung nodule candidates and masks of lesions."""
