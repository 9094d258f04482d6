"""AMY-style: label propagation on hypergraphs with uncertainty weights."""
