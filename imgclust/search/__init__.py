"""Search: the live index over the catalog, and queries by image, id or file."""
