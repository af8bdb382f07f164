"""Use cases without a window. Windows, commands and scripts are thin over these."""
