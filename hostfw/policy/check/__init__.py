"""Checks across resources: references, selections and warnings."""
