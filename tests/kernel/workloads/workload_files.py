"""Files that name workloads, written as a hook does, and whether connections of theirs get through."""

from hostfw.model.values import TCP, Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe


def write_workload(host: Installation, name: str, text: str) -> None:
    """Write a file as a hook does: aside, and then renamed."""
    folder = host.run / "workloads"
    folder.mkdir(exist_ok=True)
    aside = folder / f".{name}"
    aside.write_text(text)
    aside.rename(folder / f"{name}.yaml")


def passes(lab: Lab, source: str, destination: str, port: int, *, expected: bool) -> bool:
    """True if new connections of both families get through as they are to."""
    patience_s = ALLOW_PATIENCE_S if expected else DENY_PATIENCE_S
    flows = tuple(Flow(source, destination, TCP, port, family) for family in Family)
    return all((found.verdict is Verdict.ALLOWED) is expected for found in probe(lab, flows, patience_s))
