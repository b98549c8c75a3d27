"""Doctor: check that disk, catalog, index and links agree, and repair them on request."""
