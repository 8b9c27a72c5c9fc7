"""Feeds that hostfw downloads, on their way into force."""
