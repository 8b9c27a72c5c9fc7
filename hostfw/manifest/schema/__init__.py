"""The JSON Schema of configuration files, made of what the decoders go by."""
