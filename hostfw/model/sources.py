"""Files as they were read: the text, and a digest that says whether it changed."""

from dataclasses import dataclass

IGNORE_FILE = ".hostfwignore"
"""The name of the file that says which YAML files beside it are none of hostfw's."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file. `path` is as a person would type it (below the configuration directory as given)."""

    path: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        from hashlib import sha256  # OpenSSL takes 3 ms to load, and most verbs compare nothing

        return sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that was read for one generation: the settings file, if there is one, the resource files, the feeds.

    `feeds` are the files that Feeds name, by path and each once.
    """

    settings: Source | None = None
    resources: tuple[Source, ...] = ()
    feeds: tuple[Source, ...] = ()
