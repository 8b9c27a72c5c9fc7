"""Every sentence about packets, proved by packets: what `explain` says, what the simulation says, what the kernel does.

The resources of a scenario are written to files, and those put into force by the engine, from one scenario to the next.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest

from hostfw.audit.attribution import attribution
from hostfw.audit.log_prefix import decode
from hostfw.audit.packet_event import packet_event
from hostfw.audit.packet_headers import headers
from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation
from hostfw.compile import object_names as names
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.explain.verdict import explain
from hostfw.host.network.interfaces.links import observe
from hostfw.host.nftables.nflog import NflogRecord
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.time.clock import now
from hostfw.model.host.facts import HostFacts
from hostfw.model.packets.decisions import Reason
from hostfw.model.packets.explanation import Explanation, Step, StepVerdict
from hostfw.model.packets.packet import Packet
from hostfw.model.settings import Logging
from hostfw.model.values import TCP, UDP, Action, Direction, Family
from hostfw.nft.simulate import Fate, simulate
from lab.namespace import inside
from tests.kernel.packets.frames import datagrams
from tests.kernel.packets.wire import Observed, Wire, wired_host
from tests.kernel.policy.scenario import ADDRESSES, INTERFACES, Scenario, Stage, Trial, scenarios

LEAST = 264
"""There are more scenarios than this, or some have gone missing."""


@dataclass(frozen=True, slots=True)
class Site:
    """A wired host that hostfw is installed on, and what was observed of it."""

    wire: Wire
    directories: Directories
    facts: HostFacts


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One host for all scenarios."""
    root = tmp_path_factory.mktemp("hostfw")
    directories = Directories(root / "etc", root / "state", root / "run")
    for directory in (directories.config, directories.state, directories.run):
        directory.mkdir()
    with wired_host(INTERFACES, ADDRESSES) as wire:
        with inside(wire.namespace):
            facts = observe("host")
        yield Site(wire, directories, facts)


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: f"{scenario.group}: {scenario.name}")
def test_packets_fare_as_the_sentence_says(scenario: Scenario, site: Site) -> None:
    """The three agree on verdict, counters and log records, and on what decides."""
    site.wire.forget()
    for stage in scenario.stages:
        generation = _put_into_force(site, stage)
        last: dict[Family, bytes] = {}
        wrong = [f"{_title(trial)}: {found}" for trial in stage.trials for found in _try(site, generation, trial, last)]
        assert not wrong, "\n".join(("", *wrong))


def test_no_scenario_is_missing_and_none_is_told_twice() -> None:
    """A file that is not found would go unnoticed."""
    told = [scenario.name for scenario in scenarios()]

    assert len(told) > LEAST
    assert [name for name, times in Counter(told).items() if times > 1] == []


EVERYTHING = Logging(burst_packets=1_000_000, shared_burst_packets=1_000_000)
"""The simulation knows no limits."""


def _put_into_force(site: Site, stage: Stage) -> Generation:
    for path in site.directories.config.iterdir():
        path.unlink()
    for name, text in stage.files.items():
        (site.directories.config / name).write_text(text)
    seen = tuple(interface for interface in site.facts.interfaces if interface.name not in stage.unseen)
    facts = replace(site.facts, interfaces=seen)
    host = Host(observe=lambda _node: facts, nftables=lambda _keep_open: site.wire.nftables)
    with inside(site.wire.namespace), pytest.MonkeyPatch.context() as patched:
        # One worker does for all scenarios; the engine would start one for each.
        patched.setattr(site.wire.nftables, "close", lambda: None)
        engine = Engine(site.directories, host)
        candidate = check_candidate(*read_configuration(site.directories.config))
        applied = engine.apply(
            replace(candidate, settings=replace(candidate.settings, logging=EVERYTHING)), accept_loss=True
        )
    assert isinstance(applied, Applied), applied
    foreign = site.wire.nftables.commit(
        f"table inet foreign\ndelete table inet foreign\ntable inet foreign {{\n{stage.foreign}\n}}\n"
    )
    assert foreign.ok, foreign.error
    return applied.generation


def _try(site: Site, generation: Generation, trial: Trial, last: dict[Family, bytes]) -> Iterator[str]:
    """Send the packet, and say what is not as it is to be."""
    wire = site.wire
    form = replace(trial.form, quoted=last[trial.packet.family]) if trial.quotes_last else trial.form
    observed = wire.send(trial.packet, form, kept=trial.kept)
    if trial.kept:
        last[trial.packet.family] = datagrams(trial.packet.untranslated, wire.last)[0]
    packet = trial.packet
    yield from _differs("state", observed.state or packet.state, packet.state)
    explanation = explain(generation.plan, packet)
    predicted = simulate(generation.ruleset, packet)
    for who, allowed in (
        ("explain", explanation.allowed),
        ("the simulation", predicted.accepted),
        ("the kernel", observed.passed or trial.lost),
    ):
        yield from _differs(f"verdict of {who}", allowed, trial.allowed)
    yield from _differs("lost", trial.allowed and not observed.passed, trial.lost)
    yield from _differs("decided, says explain,", _words(explanation.decided_by), trial.by)
    yield from _differs("logged, says explain,", tuple(map(_words, explanation.logged_by)), trial.logs)
    yield from _differs("counters", Counter(observed.counters), Counter(predicted.counters))
    records = wire.records(wire.last, len(predicted.prefixes))
    prefixes = tuple(record.prefix for record in records)
    yield from _differs("log records", prefixes, predicted.prefixes)
    yield from _differs("attributed", _attributed(site, generation, records), _logged(explanation))
    yield from _unproved(trial, explanation, observed, prefixes)
    if not trial.allowed and packet.protocol in (TCP.number, UDP.number):
        yield from _differs("told", observed.rejected, predicted.fate is Fate.REJECT)
    if trial.told is not None:
        yield from _differs("told", observed.rejected, trial.told)


def _unproved(trial: Trial, explanation: Explanation, observed: Observed, prefixes: tuple[str, ...]) -> Iterator[str]:
    """Contradictions of the kernel about the deciding step: its log record, or the counter that moved."""
    step = explanation.decided_by
    if not trial.allowed:
        denials = [
            tag for tag in map(decode, prefixes) if tag is not None and tag.action is Action.DENY and not tag.staged
        ]
        told = [] if step.unrecorded else [trial.by]
        yield from _differs("denied, says the log,", [str(tag) for tag in denials], told)
        if step.unrecorded and step.rule is not None:
            yield from _differs("counted", names.rule_counter(step.rule) in observed.counters, wanted=True)
    elif step.rule is not None:
        yield from _differs("counted", names.rule_counter(step.rule) in observed.counters, wanted=True)
    elif step.failsafe is not None:
        counter = names.failsafe_counter(step.failsafe, step.direction, place=_place(step))
        yield from _differs("counted", counter in observed.counters, wanted=True)


def _attributed(site: Site, generation: Generation, records: Iterable[NflogRecord]) -> list[tuple[object, ...]]:
    """The audit's attribution of log records: the packet, the rule, its file and line."""
    known = attribution(generation.plan, generation.id)
    names_of = {interface.index: interface.name for interface in site.facts.interfaces} | {0: ""}
    found: list[tuple[object, ...]] = []
    for record in records:
        packet = headers(record.payload, record.family)
        event = packet_event(record.prefix, packet, (names_of[record.indev], names_of[record.outdev]), now(), known)
        assert event is not None
        assert event.generation == generation.id
        found.append(
            (
                event.action,
                event.direction,
                event.reason,
                event.tier,
                event.policy,
                event.rule,
                event.kind,
                event.origin,
                event.endpoint,
                event.interface,
            )
        )
    return found


def _logged(explanation: Explanation) -> list[tuple[object, ...]]:
    """The same of the steps of an explanation that leave log records."""
    found: list[tuple[object, ...]] = []
    for step in explanation.steps:
        logs = step.rule is not None and step.matched and (step.action in (Action.LOG, Action.DENY) or step.staged)
        if step.unrecorded or (step.verdict is not StepVerdict.DENY and not logs):
            continue
        action = (step.action or Action.DENY).lower()
        found.append(
            (
                f"would-{action}" if step.staged else action,
                step.direction,
                step.reason,
                step.tier,
                step.policy,
                step.rule.index if step.rule else None,
                step.rule.kind if step.rule else "",
                step.position.file_line if step.rule and step.position.path else "",
                step.endpoint or "",
                step.interface,
            )
        )
    return found


def _differs(what: str, seen: object, wanted: object) -> Iterator[str]:
    if seen != wanted:
        yield f"{what} {seen}, not {wanted}"


def _words(step: Step) -> str:
    """A step in the words of log records."""
    if step.rule is not None:
        return f"{step.tier or 'profile'}/{step.policy} {step.direction}[{step.rule.index}]"
    if step.failsafe is not None:
        return f"{_place(step) or 'failsafe'} {step.failsafe} ({step.direction})"
    return f"{step.reason}{f' {step.tier}' if step.tier else ''} ({step.direction})"


def _place(step: Step) -> str:
    """The place of a port of the host that is open to workloads, empty for a failsafe."""
    if step.reason is not Reason.TO_HOST:
        return ""
    return "to-host" if step.direction is Direction.EGRESS else "lease"


def _title(trial: Trial) -> str:
    packet: Packet = trial.packet
    ways = f"{packet.in_interface or 'host'} to {packet.out_interface or 'host'}"
    what = packet.destination_port if packet.has_ports else packet.icmp_type
    return f"IPv{packet.family:d} {ways}, protocol {packet.protocol} {what}"
