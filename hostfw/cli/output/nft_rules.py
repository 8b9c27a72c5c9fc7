"""Warnings about NftRules, where an answer is for policy alone."""

from hostfw.cli.output.console import Console
from hostfw.model.plan import Plan


def warn_of_nft_rules(plan: Plan, console: Console) -> None:
    """Name the NftRules that decide about packets before policy does: what they match is not modelled."""
    for one in plan.nft_rules:
        if one.verdicts:
            place = one.metadata.position.file_line
            may = " or ".join(one.verdicts)
            console.warn(f"NftRules {one.metadata.name} ({place}) come first at {one.hook} and may {may}: not modelled")
