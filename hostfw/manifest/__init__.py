"""From YAML to resources and back, without effects: nodes, decoders, settings, the JSON Schema."""
