"""Manifests as text, with only what a case is about, and problems as text."""

from hostfw.manifest.decode import Decoded, decode
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import Resources
from hostfw.model.sources import Configuration, Source

CALICO = "projectcalico.org/v3"
HOSTFW = "hostfw.io/v1"


def manifest(kind: str, spec: str = "{}", name: str = "case", metadata: str = "", version: str = CALICO) -> str:
    """A manifest of four lines; the value of `spec` begins at 4:7."""
    more = f", {metadata}" if metadata else ""
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}{more}}}\nspec: {spec}\n"


def policy(spec: str = "{}", name: str = "case") -> str:
    """A GlobalNetworkPolicy; the value of `spec` begins at 4:7."""
    return manifest("GlobalNetworkPolicy", spec, name)


def rule(fields: str) -> str:
    """A GlobalNetworkPolicy with one ingress rule, whose first field stands at 4:19."""
    return policy(f"{{ingress: [{{{fields}}}]}}")


def decoded(*texts: str, settings: str | None = None) -> Decoded:
    """The files `1.yaml`, `2.yaml`, ... decoded, and `hostfw.yaml` if there is one."""
    sources = tuple(Source(f"{number}.yaml", text) for number, text in enumerate(texts, start=1))
    return decode(Configuration(None if settings is None else Source("hostfw.yaml", settings), sources))


def resources(*texts: str) -> Resources:
    """The resources of manifests that have no problem."""
    result = decoded(*texts)
    assert result.problems == ()
    return result.resources


def said(problem: Problem, *, path: bool = False) -> str:
    """A problem in one line: `line:column message; expected ...; hint ...`."""
    where = str(problem.position) if path else f"{problem.position.line}:{problem.position.column}"
    warning = "warning: " if problem.severity is Severity.WARNING else ""
    expected = f"; expected {problem.expected}" if problem.expected else ""
    hint = f"; hint: {problem.hint}" if problem.hint else ""
    return f"{where} {warning}{problem.message}{expected}{hint}"


def mistakes(*texts: str) -> list[str]:
    """The problems of manifests, in order."""
    return [said(problem, path=len(texts) > 1) for problem in decoded(*texts).problems]
