"""Names of services that are misspelled, or that are those of programs, and the words that were probably meant."""

import re
from difflib import get_close_matches

from hostfw.quick.services import Lookup, is_service

_FREQUENT = (
    *("ssh", "http", "https", "smtp", "submission", "imap", "imaps", "pop3", "pop3s", "domain", "dns", "ftp", "ntp"),
    *("mysql", "postgresql", "redis", "mongodb", "samba", "nfs", "wireguard", "openvpn", "snmp", "ldap", "ldaps"),
    *("rsync", "git", "telnet", "syslog", "mdns", "prometheus", "grafana", "rdp", "vnc", "tftp", "elasticsearch"),
    *("kerberos", "node-exporter", "ping"),
)
"""The services that somebody probably means who misspells one."""
_PROGRAMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("web", "nginx", "apache2", "httpd", "caddy", "haproxy", "webserver"), ("http", "https")),
    **dict.fromkeys(("sshd", "openssh-server", "sftp", "scp"), ("ssh",)),
    **dict.fromkeys(("smb", "smbd", "windows"), ("samba",)),
    **dict.fromkeys(("wg", "wg-quick"), ("wireguard",)),
    **dict.fromkeys(("bind", "bind9", "named", "unbound", "dnsmasq", "nameserver"), ("dns",)),
    **dict.fromkeys(("postfix", "exim", "exim4", "sendmail", "email"), ("smtp",)),
    **dict.fromkeys(("mariadb", "mysqld"), ("mysql",)),
    **dict.fromkeys(("postgres-server", "psql", "pgsql"), ("postgresql",)),
    **dict.fromkeys(("chrony", "chronyd", "ntpd"), ("ntp",)),
    "cups": ("ipp",),
    "mosh": ("udp/60000-61000",),
    "ipsec": ("udp/500,4500", "esp"),
    "dovecot": ("imaps",),
    "minecraft": ("tcp/25565",),
    "plex": ("tcp/32400",),
    "etcd": ("tcp/2379-2380",),
    "kubelet": ("tcp/10250",),
    "https-alt": ("tcp/8443",),
}
"""Programs that somebody names instead of what they serve: the words for their usual ports."""
_INTERFACE = re.compile(
    r"(?=.{1,15}\Z)(?:(?:eth|en[ops]|enx|wl|ww|wg|tun|tap|br-?|bond|veth|virbr|vmbr|vlan|ppp|docker|dummy)[\w.-]*\d[\w.]*|lo)\Z",
    re.ASCII,
)
"""Names of 15 characters at most, as the kernel has them."""
_LIKE_DIGITS = str.maketrans("oOlI", "0011")
_NUMBERS = re.compile(r"(?=[oOlI]*[0-9])[0-9oOlI]+(?:[-:,][0-9oOlI]+)*\Z")
_PROTOCOLS = ("tcp", "udp", "sctp")
_LIKENESS, _SHORTEST = 0.66, 3
"""Of two words, from 0 to 1, as difflib has it, and the least number of letters that tell something."""


def services_meant(word: str, lookup: Lookup) -> tuple[str, ...]:
    """The services that were probably meant by a word that names none; none where nothing is like it."""
    text = word.lower()
    if is_service(word, lookup) or looks_like_interface(text):
        return ()
    if text in _PROGRAMS:
        return _PROGRAMS[text]
    left, slash, right = word.partition("/")
    found = "" if "/" in right else _with_protocol(left, right) if slash else _bare(word)
    return (found,) if found and is_service(found, lookup) else ()


def looks_like_interface(word: str) -> bool:
    """True for a word such as `eth0` or `enp3s0`, as interfaces are called."""
    return _INTERFACE.match(word) is not None


def _bare(word: str) -> str:
    if _NUMBERS.match(word):
        return word.translate(_LIKE_DIGITS)
    near = get_close_matches(word.lower(), _FREQUENT, n=1, cutoff=_LIKENESS) if len(word) >= _SHORTEST else []
    return next(iter(near), "")


def _with_protocol(left: str, right: str) -> str:
    """The service of `tpc/80`, `8o/tcp` and `tcp/htp`."""
    is_behind = right.lower() in _PROTOCOLS
    for protocol, ports, form in ((left, right, "{0}/{1}"), (right, left, "{1}/{0}"))[is_behind:]:
        near = get_close_matches(protocol.lower(), _PROTOCOLS, n=1, cutoff=_LIKENESS)
        of = _bare(ports)
        if near and of:
            return form.format(near[0], of)
    return ""
