"""The result of an apply: it holds the generation, and so needs the compiler that the other results do without."""

from dataclasses import dataclass

from hostfw.build.generation import Generation
from hostfw.host.store.generations.trial import Trial
from hostfw.model.host.services import ExposureChange
from hostfw.nft.change import Change


@dataclass(frozen=True, slots=True)
class Applied:
    """A generation is in force. `change` is what was sent, empty where the kernel held it all.

    With `trial` it is rolled back unless it is confirmed. `warnings` are troubles that did not prevent it, and
    `unsaved` says what could not be saved, as on a full disk, and what a reboot leads to. `exposure` is what it closes
    and opens.
    """

    generation: Generation
    change: Change
    warnings: tuple[str, ...] = ()
    trial: Trial | None = None
    unsaved: tuple[str, ...] = ()
    exposure: tuple[ExposureChange, ...] = ()
