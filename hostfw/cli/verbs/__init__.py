"""The verbs of hostfwctl, one module each, in a folder for each subject."""
