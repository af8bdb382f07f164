"""nnInteractive: models of the store, and sessions on a server."""
