"""Backups: a collection as one file that is checked completely, and collections made from one."""
