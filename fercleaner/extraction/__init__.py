"""Pictures to vectors: reading, framing, worker processes, the cache, and the loop over a dataset."""
