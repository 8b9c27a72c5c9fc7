"""Figures for Prometheus: the text, and the file that it is written to."""
