"""The traits page: its state, vetting browser, vectors, steering and texts along a vector."""
