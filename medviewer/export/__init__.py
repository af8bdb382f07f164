"""Results as files that other programs read. Heavy libraries are imported when a format is used."""
