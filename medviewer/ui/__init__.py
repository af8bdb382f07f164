"""The window: PySide6, thin over `medviewer.app`."""
