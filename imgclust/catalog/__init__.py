"""The catalog: the SQLite file that is the truth about a collection."""
