"""The command line: thin over the use cases in `medviewer.app`. See docs/cli.md."""
