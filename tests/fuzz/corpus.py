"""The corpus: for each target the fewest texts that reach all code which fuzzing has reached, and past findings."""

import json
from collections.abc import Iterable
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def load(name: str) -> tuple[str, ...]:
    """The texts that are kept for a target."""
    path = CORPUS / f"{name}.json"
    return tuple(json.loads(path.read_text())) if path.exists() else ()


def save(name: str, texts: Iterable[str]) -> None:
    """Keep texts for a target, a line each, the shortest first."""
    kept = sorted(set(texts), key=lambda text: (len(text), text))
    (CORPUS / f"{name}.json").write_text(json.dumps(kept, indent=0) + "\n")


def to_bytes(text: str) -> bytes:
    """A text as the bytes that a fuzzer works on; lone surrogates survive."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """Any bytes as a text."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")
