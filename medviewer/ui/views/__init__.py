"""The four views: three slices and the volume."""
