"""A configuration that is stored: it was checked when it was accepted, so what checks it is not loaded."""

from hostfw.manifest.decode import DecodeCache, decode
from hostfw.manifest.feed_file import filled
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration


def stored_content(configuration: Configuration, cache: DecodeCache | None = None) -> tuple[Resources, Settings]:
    """The resources and settings of a configuration that is stored."""
    decoded = decode(configuration, cache)
    return filled(decoded.resources, configuration.feeds)[0], decoded.settings
