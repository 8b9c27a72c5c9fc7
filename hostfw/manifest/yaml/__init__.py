"""YAML texts with positions: nodes, documents and their spans."""
