"""Words of systemctl(1) and journalctl(1)."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import DROPS, FOLLOW, RELOAD, STATUS, systemctl

_REMOVED = "`hostfwctl disable --remove-rules` removes the rules"


def systemd(words: Sequence[str]) -> str:
    """The answer to a command of systemctl, empty for what is none."""
    rest = [word for word in words if not word.startswith("-")]
    match rest[0] if rest else "":
        case "start" | "up":
            return systemctl("start")
        case "enable" | "on" | "preset":
            return systemctl("enable --now")
        case "restart" | "try-restart" | "condrestart":
            return systemctl("restart")
        case "stop":
            return f"{systemctl('stop')}; the rules stay: {_REMOVED}"
        case "disable":
            return systemctl("disable --now") + f"; the rules stay: {_REMOVED}"
        case "off" | "down":
            return f"{_REMOVED}; {systemctl('stop')} keeps them"
        case "status" | "is-active" | "is-enabled" | "is-failed" | "show" | "cat" | "mask" | "unmask" as verb:
            return systemctl(verb)
        case "enabled":
            return systemctl("is-enabled")
        case "reload" | "reload-or-restart" | "force-reload":
            return systemctl("reload")
        case "daemon-reload":
            return RELOAD
        case "force-stop":
            return _REMOVED
        case _:
            return ""


def journalctl(words: Sequence[str]) -> str:
    """The answer to a command of journalctl."""
    follows = any(word == "--follow" or (word.startswith("-") and word[1:2] != "-" and "f" in word) for word in words)
    return FOLLOW if follows else f"{DROPS}; {STATUS}"
