"""Values that stand in one word of YAML: names, networks, numbers."""
