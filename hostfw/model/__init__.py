"""The words of hostfw as frozen values: standard library only, no effects, imported by every other package."""
