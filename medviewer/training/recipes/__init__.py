"""ONE FILE PER MODEL: data, network, loss and measure. Files that begin with ``_`` are shared by several."""
