"""The verbs of hostfwctl, one module each; `run` carries a verb out."""
