"""Reports that more than one verb prints."""
