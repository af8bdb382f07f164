"""One file per export format; `medviewer.export.exporter.all_exporters` finds them."""
