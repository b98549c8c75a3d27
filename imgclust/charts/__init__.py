"""Pictures: arrays in, PNG or SVG files out; the same input gives the same file."""
