"""Whitened views, nearest neighbors in FAISS, and the hypergraph made of them."""
