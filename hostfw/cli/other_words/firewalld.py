"""Options of firewall-cmd(1)."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import (
    DEFAULT,
    DROPS,
    EXPOSURE,
    FORWARD,
    HELP,
    INTERFACES,
    LASTS,
    LOCKDOWN,
    NAT,
    POLICIES,
    POLICY,
    RELOAD,
    REMOVE,
    RESET,
    RULES,
    SETS,
    STATUS,
    UNBLOCK,
    VALIDATE,
    is_address,
    is_plain,
    quick_rule,
)
from hostfw.cli.other_words.iptables import ip6tables, iptables4
from hostfw.cli.other_words.rich_rules import rich_rule
from hostfw.model.values import Action

_OPEN_ZONES, _CLOSED_ZONES, _COMMON_ZONES = ("trusted",), ("drop", "block"), ("", "public")
_ENDPOINT = "a HostEndpoint stands for a zone and its interfaces: `hostfwctl interfaces` shows which one governs which"
_NAMES = "names of services are those of /etc/services: `hostfwctl allow http --dry-run` shows what one stands for"
_NO_SERVICES = f"hostfw has no definitions of services, a rule names its ports: {POLICY}"
_ONLY_ROOT = "only root changes hostfw, so no program needs to be shut out: `hostfwctl status` says what is in force"
_ICMP = f"types of ICMP are fields of a rule (`icmp: {{type: 3}}`); {POLICY}"
_PANIC = "`hostfwctl status` says whether there is a lockdown"

OTHERWISE: dict[str, str] = {
    "--state": STATUS,
    **dict.fromkeys(("--reload", "--complete-reload"), RELOAD),
    "--runtime-to-permanent": LASTS,
    "--check-config": VALIDATE,
    "--reset-to-defaults": RESET,
    **dict.fromkeys(("--set-log-denied", "--get-log-denied"), DROPS),
    **dict.fromkeys(
        (
            *("--list-all", "--list-all-zones", "--list-ports", "--list-services", "--list-protocols", "--list"),
            *("--list-rich-rules", "--list-sources", "--list-source-ports", "--list-icmp-blocks"),
            *("--list-all-policies", "--get-all-rules", "--get-rules", "--get-all-chains", "--get-chains"),
            *("--get-all-passthroughs", "--get-passthroughs", "--query-rich-rule", "--query-source"),
            *("--query-icmp-block", "--query-icmp-block-inversion", "--query-protocol", "--query-source-port"),
            *("--query-rule", "--query-chain", "--query-passthrough", "--get-target"),
        ),
        RULES,
    ),
    **dict.fromkeys(("--query-port", "--query-service"), EXPOSURE),
    **dict.fromkeys(
        (
            *("--get-active-zones", "--get-zones", "--get-default-zone", "--get-zone-of-interface"),
            *("--get-zone-of-source", "--info-zone", "--list-interfaces", "--query-interface", "--path-zone"),
        ),
        INTERFACES,
    ),
    **dict.fromkeys(
        (
            *("--add-interface", "--change-interface", "--remove-interface", "--new-zone", "--delete-zone"),
            *("--new-zone-from-file", "--load-zone-defaults", "--change-zone"),
        ),
        _ENDPOINT,
    ),
    **dict.fromkeys(("--set-default-zone", "--set-target", "--add-icmp-block-inversion"), DEFAULT),
    "--remove-icmp-block-inversion": DEFAULT,
    **dict.fromkeys(
        (
            *("--get-policies", "--get-active-policies", "--info-policy", "--path-policy", "--get-priority"),
            *("--list-ingress-zones", "--list-egress-zones", "--query-ingress-zone", "--query-egress-zone"),
        ),
        POLICIES,
    ),
    **dict.fromkeys(
        (
            *("--new-policy", "--new-policy-from-file", "--delete-policy", "--load-policy-defaults", "--set-priority"),
            *("--add-ingress-zone", "--remove-ingress-zone", "--add-egress-zone", "--remove-egress-zone"),
            *("--add-source-port", "--remove-source-port", "--add-chain", "--remove-chain", "--remove-rules"),
        ),
        POLICY,
    ),
    **dict.fromkeys(("--get-services", "--info-service", "--path-service"), _NAMES),
    **dict.fromkeys(
        ("--get-helpers", "--info-helper", "--get-includes", "--get-modules", "--get-destinations"), _NAMES
    ),
    **dict.fromkeys(
        (
            *("--new-service", "--new-service-from-file", "--delete-service", "--load-service-defaults"),
            *("--set-destination", "--remove-destination", "--add-include", "--remove-include", "--add-module"),
            *("--new-helper", "--delete-helper", "--add-helper", "--remove-helper", "--set-automatic-helpers"),
        ),
        _NO_SERVICES,
    ),
    **dict.fromkeys(("--get-automatic-helpers", "--get-icmptypes", "--info-icmptype", "--path-icmptype"), RULES),
    **dict.fromkeys(("--new-icmptype", "--delete-icmptype", "--new-icmptype-from-file"), _ICMP),
    **dict.fromkeys(
        (
            *("--add-masquerade", "--remove-masquerade", "--query-masquerade", "--list-forward-ports"),
            *("--add-forward-port", "--remove-forward-port", "--query-forward-port"),
        ),
        NAT,
    ),
    **dict.fromkeys(("--add-forward", "--remove-forward"), FORWARD),
    "--query-forward": RULES,
    "--panic-on": LOCKDOWN,
    "--panic-off": UNBLOCK,
    "--query-panic": _PANIC,
    **dict.fromkeys(
        (
            *("--lockdown-on", "--lockdown-off", "--query-lockdown"),
            *(
                f"--{act}-lockdown-whitelist-{of}"
                for act in ("add", "remove", "query")
                for of in ("command", "context")
            ),
            *(f"--{act}-lockdown-whitelist-{of}" for act in ("add", "remove", "query") for of in ("uid", "user")),
            *(f"--list-lockdown-whitelist-{of}s" for of in ("command", "context", "uid", "user")),
        ),
        _ONLY_ROOT,
    ),
    **dict.fromkeys(
        (
            *("--new-ipset", "--delete-ipset", "--get-ipsets", "--get-ipset-types", "--new-ipset-from-file"),
            *("--load-ipset-defaults", "--path-ipset"),
        ),
        SETS,
    ),
    **dict.fromkeys(
        ("--add-entries-from-file", "--remove-entries-from-file"),
        "a Feed with `file` takes its members from a file: `hostfwctl feed list` says how the Feeds are",
    ),
    **dict.fromkeys(("--set-description", "--get-description", "--set-short", "--get-short"), POLICIES),
    "--direct": POLICY,
}
"""Options whose answer does not hang on their value."""
_RULES_BY_OPTION = ("port", "service", "protocol", "source", "rich-rule", "icmp-block", "rule", "passthrough", "entry")
_ACTS = {
    f"--{act}-{what}": (act, what)
    for act in ("add", "remove", "change", "query", "info", "get")
    for what in _RULES_BY_OPTION
}
_ACTS["--passthrough"] = ("add", "passthrough")
_ALONE = ("--permanent", "--zone", "--timeout", "--policy")
"""Options that say something about others, and are typed alone as well."""


def firewalld(words: Sequence[str]) -> str:
    """The answer to a command of firewall-cmd, empty for what is none."""
    given = _given(words)
    name = given.get("--ipset", "")
    if name and is_plain([name]) and not any("-from-file" in option for option in given):
        member = given.get("--add-entry") or given.get("--remove-entry") or ""
        verb = "add" if "--add-entry" in given else "del"
        known = is_plain([member]) and is_address(member)
        return f"`hostfwctl set {verb} {name} {member}`" if known else f"`hostfwctl set list {name}` shows its members"
    if given.get("--info-ipset") and is_plain([given["--info-ipset"]]):
        return f"`hostfwctl set list {given['--info-ipset']}` shows its members"
    if "--service" in given:
        return _NO_SERVICES
    if "--icmptype" in given:
        return _ICMP
    for option in given:
        if option in _ACTS and not (option in OTHERWISE and option != "--info-service"):
            return _about_a_rule(*_ACTS[option], given[option], given, words)
    told = next((OTHERWISE[option] for option in given if option in OTHERWISE and option != "--direct"), "")
    if told:
        return told
    return OTHERWISE["--direct"] if "--direct" in given else (LASTS if set(given) & set(_ALONE) else _asked(given))


def _asked(given: dict[str, str]) -> str:
    """The answer to what people take for an option of firewall-cmd."""
    if set(given) & {"--help", "-h"}:
        return HELP
    if set(given) & {"--version", "-V"}:
        return "`hostfwctl version`"
    return ""


def _given(words: Sequence[str]) -> dict[str, str]:
    """The options with their values, behind `=` or as the next word."""
    given = dict[str, str]()
    last = ""
    for word in words:
        if word.startswith("-"):
            last, _, value = word.partition("=") if word.startswith("--") else (word, "", "")
            given[last] = value
        elif last and not given[last]:
            given[last] = word
    return given


def _about_a_rule(act: str, what: str, value: str, given: dict[str, str], words: Sequence[str]) -> str:
    """The quick rule that an option of firewall-cmd asks for, or to remove."""
    if what in ("rule", "passthrough"):
        told = _direct(act, words)
        return told or POLICY
    if what == "entry":
        return SETS
    action, said = _said(what, value, given.get("--zone", ""))
    if act == "info":
        return quick_rule(Action.ALLOW, [value], dry=True) or _NAMES
    zone = given.get("--zone", "")
    if said and what != "source" and zone not in _COMMON_ZONES:
        said = [*said, "on", "ENDPOINT"]
    time = given.get("--timeout", "")
    if said and time and act == "add":
        said = [*said, "for", f"{time}s" if time.isdigit() else time]
    known = quick_rule(action, said, removed=act == "remove")
    if known:
        return f"{known}; {_ENDPOINT}" if "ENDPOINT" in said else known
    if what == "source":
        return f"a rule says from whom it allows: {RULES}"
    return _ICMP if what == "icmp-block" else (REMOVE if act == "remove" else POLICY)


def _said(what: str, value: str, zone: str) -> tuple[Action | None, list[str]]:
    match what:
        case "port" | "service" | "protocol":
            return Action.ALLOW, [value] if value else ["http" if what == "service" else "tcp/8080"]
        case "icmp-block":
            return Action.DENY, ["ping"] if value == "echo-request" else []
        case "source" if zone in _OPEN_ZONES:
            return Action.ALLOW, ["from", value]
        case "source" if zone in _CLOSED_ZONES:
            return Action.DENY, ["in", "from", value]
        case "rich-rule" if (found := rich_rule(value)) is not None:
            return found
        case _:
            return None, []


def _direct(act: str, words: Sequence[str]) -> str:
    """The answer to the rule of iptables that stands behind `--add-rule` or `--passthrough`."""
    rest = list(words)
    begin = next((place for place, word in enumerate(rest) if word in ("ipv4", "ipv6", "eb")), None)
    if begin is None or rest[begin] == "eb":
        return ""
    iptables = ip6tables if rest[begin] == "ipv6" else iptables4
    rest = rest[begin + 1 :]
    if rest[:1] == ["filter"] and len(rest) > 2:
        return iptables(["-D" if act == "remove" else "-A", rest[1], *rest[3:]])
    if rest[:1] in (["nat"], ["mangle"], ["raw"]):
        return NAT
    return iptables(rest) if rest[:1] and rest[0].startswith("-") and act == "add" else ""
