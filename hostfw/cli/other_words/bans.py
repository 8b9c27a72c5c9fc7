"""Words of fail2ban-client(1) and of crowdsec's cscli(1)."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import COUNTERS, DROPS, RELOAD, STATUS, VALIDATE, is_address, is_plain, systemctl

_BANS = "`hostfwctl set list {}` shows who is banned, and for how long"
_NO_JAILS = "jails belong to fail2ban; `hostfwctl set list fail2ban` shows its bans, where banaction = hostfw"


def fail2ban(words: Sequence[str]) -> str:
    """The answer to a command of fail2ban-client, empty for what is none."""
    match [word for word in words if word != "-q"]:
        case ["set", _, "banip" | "unbanip" as act, *addresses] | ["banip" | "unbanip" as act, *addresses]:
            return _members("fail2ban", act == "banip", addresses)
        case ["unban", "--all", *_]:
            return _BANS.format("fail2ban")
        case ["unban", *addresses]:
            return _members("fail2ban", put_in=False, addresses=addresses)
        case ["set", _, "addignoreip" | "delignoreip" | "bantime" | "findtime" | "maxretry", *_]:
            return _NO_JAILS
        case ["get", _, "banip" | "banned" | "bantime" | "ignoreip" | "maxretry" | "findtime" | "logpath", *_]:
            return _NO_JAILS
        case ["banned", *_]:
            return _BANS.format("fail2ban")
        case ["status", _, *_]:
            return _NO_JAILS
        case ["status"]:
            return f"{_BANS.format('fail2ban')}; {STATUS}"
        case ["reload", *_]:
            return RELOAD
        case ["start" | "stop" | "restart" as verb, *_]:
            return systemctl(verb)
        case ["ping"]:
            return STATUS
        case ["-t" | "--test", *_]:
            return VALIDATE
        case _:
            return ""


def cscli(words: Sequence[str]) -> str:
    """The answer to a command of cscli, empty for what is none."""
    match words:
        case ["decisions" | "decision", "list" | "ls", *_] | ["decisions" | "decision"]:
            return _BANS.format("crowdsec")
        case ["decisions" | "decision", "add" | "delete" | "del" | "remove" as act, *rest]:
            given = dict(_values(rest))
            peer = next((given[name] for name in ("--ip", "-i", "--range", "-r", "--value", "-v") if name in given), "")
            time = given.get("--duration", given.get("-d", ""))
            return _members("crowdsec", act == "add", [peer] if peer else [], time)
        case ["decisions" | "decision", *_] | ["bouncers" | "bouncer", *_]:
            return _BANS.format("crowdsec")
        case ["alerts" | "alert", *_]:
            return DROPS
        case ["metrics", *_]:
            return COUNTERS
        case ["hub" | "collections" | "parsers" | "scenarios" | "machines" | "lapi" | "capi" | "console", *_]:
            return f"that belongs to crowdsec; {_BANS.format('crowdsec')}"
        case _:
            return ""


def _values(words: Sequence[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.startswith("-"):
            found.append((name, value if equals else "".join(words[place + 1 : place + 2])))
    return found


def _members(name: str, put_in: bool, addresses: Sequence[str], time: str = "") -> str:  # noqa: FBT001 -- private
    known = [address for address in addresses if is_plain([address]) and is_address(address)]
    if not known or len(known) < len(addresses):
        return _BANS.format(name)
    for_time = f" for {time}" if put_in and time and is_plain([time]) else ""
    return f"`hostfwctl set {'add' if put_in else 'del'} {name} {' '.join(known)}{for_time}`"
