"""Duplicates: images with the same bytes, copies at other sizes and encodings, and look-alikes."""
