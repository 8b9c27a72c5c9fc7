"""An imported policy as a file: each rule in a line, under the lines that it comes from."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import yaml

from hostfw.importer.policy import Imported, Sourced
from hostfw.manifest.encode import Document, manifest, rule_manifest
from hostfw.model.resources import GlobalNetworkPolicy, Resource

_WIDTH = 1_000_000


def policy_text(imported: Imported, title: str) -> str:
    """The resources as YAML, with a comment above each rule that gives its origin."""
    return f"# {title}\n" + "---\n".join(_document(resource, imported) for resource in imported.resources)


def _document(resource: Resource, imported: Imported) -> str:
    if not isinstance(resource, GlobalNetworkPolicy):
        return _block(manifest(resource))
    origins = imported.origins[resource.metadata.name]
    if not origins:
        return _block(manifest(resource))
    without = replace(resource, ingress=(), egress=())
    rules = _rules((rule_manifest(sourced.rule) for sourced in origins), origins)
    return _block(manifest(without)) + f"  {resource.types[0].value}:\n" + "".join(rules)


def _rules(listed: Iterable[Document], origins: Iterable[Sourced]) -> Iterator[str]:
    before: object = None
    for content, sourced in zip(listed, origins, strict=True):
        if sourced.of != before:
            if not sourced.of:
                yield "  # what reaches the end\n"
            yield from dict.fromkeys(f"  # {rule.position.file_line} {_one_line(rule.text)}\n" for rule in sourced.of)
            before = sourced.of
        yield f"  - {yaml.safe_dump(content, sort_keys=False, default_flow_style=True, width=_WIDTH)}"


def _one_line(text: str) -> str:
    """A text that ends no comment early: what is no printable character is left out."""
    return "".join(c for c in text if c.isprintable())


def _block(content: Document) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=_WIDTH)
