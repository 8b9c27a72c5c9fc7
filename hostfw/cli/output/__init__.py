"""Output of verbs: the console, tables, problems, documents, times."""
