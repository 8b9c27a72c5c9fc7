"""The standing record: what this host was accepted to govern, and how a generation is held to it.

The record belongs to a stored generation. What is put into force for the host as it is now is resolved with it, so that
no change of a fact takes an interface out from under policy, and is recorded anew afterwards.
"""

from dataclasses import replace

from hostfw.engine.context import Directories, Host
from hostfw.host.store.generations.active import load_active, network_namespace
from hostfw.host.store.generations.generations import accepted_number, generation_folder
from hostfw.host.store.generations.governance import load_governance
from hostfw.host.store.generations.trial import load_trial
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import Governance
from hostfw.model.resources import Resources


def standing_number(directories: Directories) -> int | None:
    """The number of the generation whose record counts now: the one on trial, or else the accepted one.

    Raises Unreadable.
    """
    trial, _ = load_trial(directories.state)
    return accepted_number(directories.state) if trial is None else trial.number


def standing(directories: Directories, host: Host, cached: tuple[int, Governance] | None = None) -> Governance:
    """The record that counts now; an empty one where nothing was accepted yet. Raises Unreadable."""
    return record_of(directories, host, standing_number(directories), cached)


def record_of(
    directories: Directories, host: Host, number: int | None, cached: tuple[int, Governance] | None = None
) -> Governance:
    """The record of a stored generation, its indices gone if they are of another boot or network namespace.

    A generation of before there were records has the node name that was in force, if that is known. Raises Unreadable.
    """
    if number is None:
        return Governance()
    if cached is not None and cached[0] == number:
        governance = cached[1]
    else:
        governance, _ = load_governance(generation_folder(directories.state, number))
    if not governance.node:
        record, _ = load_active(directories.run)
        governance = replace(governance, node=record.node if record is not None else "")
    return governance if governance.boot == network_identity(host) else governance.without_indices()


def named(governance: Governance, resources: Resources, facts: HostFacts, *, take_name: bool) -> Governance:
    """The record with the node name that a configuration is to be resolved for.

    The recorded name stays while HostEndpoints have it. The name that the host has now is taken where none is
    recorded, where HostEndpoints have that one alone, or with `take_name` where any has it.
    """
    pinned, present = governance.node.lower(), facts.node.lower()
    nodes = {endpoint.node for endpoint in resources.endpoints}
    if not pinned or (present in nodes and (take_name or pinned not in nodes)):
        return replace(governance, node=present)
    return governance


def network_identity(host: Host) -> str:
    """Within which indices of interfaces count: this boot, and this network namespace."""
    return f"{host.boot_id()}/{network_namespace()}"
