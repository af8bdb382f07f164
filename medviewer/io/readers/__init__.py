"""One module per format; each registers itself with `medviewer.io.reader.reader`."""
