"""Pictures of the document: slices, volumes, surfaces. Observes `core`, knows no window."""
