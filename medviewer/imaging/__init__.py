"""Pure functions on images: resampling, and SimpleITK at one door."""
