"""Words of kubectl and calicoctl."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import (
    ADD,
    COUNTERS,
    DROPS,
    EDIT,
    EXPLAIN,
    EXPOSURE,
    FOLLOW,
    INTERFACES,
    POLICIES,
    REMOVE,
    STATUS,
    UNDO,
    is_plain,
)
from hostfw.model.values import NAMED_PROTOCOLS

_FILES = ("-f", "--filename", "--file")
_WHOLE = "`hostfwctl get gnp -o yaml` prints the policies; settings are in /etc/hostfw/hostfw.yaml"
_OTHER_KINDS = {
    **dict.fromkeys(("pod", "pods", "po", "deployment", "deployments", "deploy"), "`hostfwctl get workloads`"),
    **dict.fromkeys(("node", "nodes", "no"), INTERFACES),
    **dict.fromkeys(("service", "services", "svc", "ingress", "ing"), EXPOSURE),
    **dict.fromkeys(("event", "events", "ev"), DROPS),
    **dict.fromkeys(("all", "everything"), POLICIES),
    **dict.fromkeys(("configmap", "configmaps", "cm", "secret", "secrets"), _WHOLE),
    **dict.fromkeys(
        ("felixconfiguration", "felixconfig", "felixconfigurations", "bgpconfiguration", "bgppeer", "bgppeers"),
        "settings are in /etc/hostfw/hostfw.yaml; `hostfwctl status -v` says what is in force",
    ),
    **dict.fromkeys(
        ("ippool", "ippools"), "hostfw gives out no addresses; `hostfwctl get gns` lists sets of addresses"
    ),
    **dict.fromkeys(("rules", "rule"), "`hostfwctl rules` lists the rules in force"),
    **dict.fromkeys(("sets", "set", "ipset", "ipsets"), "`hostfwctl set list` shows the sets"),
    **dict.fromkeys(("drops", "logs"), DROPS),
    **dict.fromkeys(("counters", "stats"), COUNTERS),
    **dict.fromkeys(("status", "info"), STATUS),
}
"""Kinds that hostfw has not, and what shows the like of them."""


def kind_hint(word: str, known: Sequence[str]) -> str:
    """The command for a kind that hostfw has not: one that shows the like, the kind spelled like it, or all kinds."""
    from hostfw.cli.command_line.argument_parser import closest

    other = _OTHER_KINDS.get(word.lower().partition("/")[0].partition(".")[0])
    # A protocol is no misspelled kind, such as cnp.
    near = "" if word.upper() in NAMED_PROTOCOLS else closest(word, known)
    return other or near or f"one of {', '.join(known)}; `hostfwctl get --help` explains them"


def calico(words: Sequence[str]) -> str:
    """The answer to a command of kubectl or calicoctl, empty for what is none."""
    first, *rest = words
    match first:
        case "create" | "replace" | "load":
            return _added(rest)
        case "delete" if set(rest) & {*_FILES, *(f"{flag}={value}" for flag in _FILES for value in rest)}:
            return f"remove the file from /etc/hostfw: {EDIT}"
        case "delete" if len(rest) > 1 and _is_kind(rest[0]):
            return (
                f"remove it from its file, which `hostfwctl describe {rest[0]} {rest[1]}` names; {EDIT}"
                if is_plain(rest[:2])
                else f"{EDIT}; {REMOVE}"
            )
        case "config" if rest[:1] in (["view"], ["get-contexts"], ["current-context"]):
            return _WHOLE
        case "edit" | "patch" | "label" | "annotate" | "config" | "scale" | "taint":
            return EDIT
        case "logs":
            return FOLLOW if {"-f", "--follow"} & set(rest) else DROPS
        case "events":
            return DROPS
        case "top":
            return COUNTERS
        case "api-resources" | "api-versions":
            return POLICIES
        case "rollout" if rest[:1] == ["status"]:
            return STATUS
        case "rollout" if rest[:1] == ["history"]:
            return "`hostfwctl history` lists the stored generations"
        case "rollout" if rest[:1] == ["restart"]:
            return "hostfw is a service: `systemctl restart hostfw`"
        case "rollout":
            return UNDO
        case "node" | "nodes":
            return f"{STATUS}; {INTERFACES}"
        case "cluster-info" | "cluster":
            return "`hostfwctl doctor` finds problems of this host and its firewall"
        case "ipam":
            return _OTHER_KINDS["ippool"]
        case "convert" | "datastore":
            return f"manifests of projectcalico.org/v3 need no conversion: {_file('validate', rest)}"
        case "auth":
            return "only root changes hostfw: `hostfwctl status` says what is in force"
        case "wait":
            return STATUS
        case "exec" | "run" | "attach" | "cp" | "proxy":
            return f"hostfw runs nothing; {EXPLAIN}"
        case "kustomize":
            return ADD
        case _:
            return ""


def _is_kind(word: str) -> bool:
    from hostfw.cli.kinds import find_kind

    return find_kind(word) is not None


def _file(verb: str, words: Sequence[str]) -> str:
    """The command of a verb with the file that was named."""
    named = [word.partition("=")[2] for word in words if word.startswith("--") and "=" in word]
    named += [words[place + 1] for place, word in enumerate(words[:-1]) if word in _FILES]
    file = next((name for name in named if is_plain([name.lstrip("/")])), "FILE")
    return f"`hostfwctl {verb} -f {file}`"


def _added(words: Sequence[str]) -> str:
    return ADD.replace("`hostfwctl apply --add -f FILE`", _file("apply --add", words))
