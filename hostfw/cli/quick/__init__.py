"""Shared by the verbs of quick rules: changed files, and rules in the order of evaluation."""
