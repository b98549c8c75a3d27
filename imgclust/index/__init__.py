"""The index: the embeddings of all contents at unit length, searched exactly through FAISS."""
