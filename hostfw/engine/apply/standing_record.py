"""The standing record as it is written: what a generation governs on the host that it was built for."""

from contextlib import suppress
from dataclasses import replace

from hostfw.build.cache import EngineCache
from hostfw.build.generation import Generation
from hostfw.engine.context import Directories, Host
from hostfw.engine.reading.standing import network_identity
from hostfw.host.store.codec import StateError, Unreadable
from hostfw.host.store.generations.generations import generation_folder
from hostfw.host.store.generations.governance import load_governance, save_governance
from hostfw.model.host.governance import Governance, GovernedInterface
from hostfw.policy.kept import recorded


def record_after(generation: Generation, host: Host) -> Governance:
    """The record of a generation on the host that it was built for."""
    resources, plan = generation.candidate.resources, generation.plan
    governance = recorded(plan, resources, generation.facts, generation.governance, host.now())
    of_host = plan.settings.node is None and any(endpoint.node == plan.node for endpoint in resources.endpoints)
    return replace(governance, boot=network_identity(host), node_of_host=of_host)


def keep_record(
    directories: Directories, number: int, governance: Governance, cache: EngineCache | None
) -> tuple[str, ...]:
    """Write down the record of a stored generation if it has changed; gives what is to be said of a disk that fails."""
    folder = generation_folder(directories.state, number)
    known: Governance | None = None
    with suppress(Unreadable):
        known, _ = load_governance(folder)
    if cache is not None:
        cache.governance = number, governance
    if known is not None and _says(known, governance):
        return ()
    try:
        save_governance(folder, governance)
    except StateError as error:
        return (f"{error.message}: after a reboot interfaces are known by their earlier record",)
    return ()


def _says(known: Governance, now: Governance) -> bool:
    """True if a record says all that one of now does, and perhaps the index of an interface that has gone since.

    Nothing is found again by such an index that is not found by its name or hardware address as well, and an interface
    that comes and goes has its record written once, and not twice. Of one that is kept the index says if it is there.
    """
    gone = {one.name for one in now.interfaces if not one.index and not one.kept}
    interfaces = tuple(replace(one, index=0) if one.name in gone and not one.kept else one for one in known.interfaces)
    return sorted(interfaces, key=_key) == sorted(now.interfaces, key=_key) and known == replace(
        now, interfaces=known.interfaces
    )


def _key(interface: GovernedInterface) -> tuple[str, str, int]:
    return interface.name, interface.endpoint, interface.index
