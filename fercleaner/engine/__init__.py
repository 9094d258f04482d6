"""Sets larger than a machine: where shards are kept, and Ray, which runs them on many machines."""
