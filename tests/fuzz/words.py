"""Words that a mutation may put into a text: the names and values of each format, and what YAML minds."""

# fmt: off

YAML_WORDS = (
    "\n", "\n  ", "\n    ", "\n- ", "\n---\n", "\n...\n", "[", "]", "{", "}", ",", ": ", "- ", "? ", "&a ", "*a",
    "<<: ", "!!str ", "!x ", "!!binary ", "|\n", ">-\n", "|2-\n", "'", '"', "\\", "\\u0000", "#", "%YAML 1.1\n",
    "%TAG ! x:\n", "\t", "\r\n", "\r", "\x00", "\x85", "\ufeff", "\ud800", "\udcff", "\u2028", "\U0001f600", "\xe9",
    "~", "null", "true", "No", "0", "-1", "1", "65535", "65536", "1e999", "0x10", "007", "1_000", ".inf", "9" * 30,
    "0b1", "+1", "1.5", '""', "''",
)

RESOURCE_WORDS = (
    "apiVersion: projectcalico.org/v3", "apiVersion: hostfw.io/v1", "kind: List", "metadata:", "name: ", "spec:",
    "items:", "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy", "GlobalNetworkSet", "HostEndpoint",
    "InterfaceGroup", "NftRules", "Profile", "Tier", "NetworkPolicy",
    "kind: Feed", "path: a.txt", "maxShrink: 5%", "url: https://a/b",
    "hostnames: [a.b]", "sha256: https://a/c", "maxSize: 5Mi", "external: true", "of: a", "size: 5", "timeout: 10m",
    "labels:", "annotations:", "selector: ", "tier: ",
    "order: ", "types: [Ingress, Egress]", "ingress:", "egress:", "doNotTrack: true", "preDNAT: true",
    "applyOnForward: true", "stagedAction: Delete", "action: Allow", "action: Deny", "action: Pass", "action: Log",
    "protocol: TCP", "notProtocol: ", "ICMPv6", "SCTP", "icmp: {type: 8, code: 0}", "ipVersion: 6", "source:",
    "destination:", "nets: [10.0.0.0/8]", "notNets: [::/0]", "ports: [22, 1:5, ssh]", "notPorts: ", "notSelector: ",
    "namespaceSelector: global()", "namespaceSelector: has(x)", "NetworkSet", "Namespace", "List", "v1",
    "networking.k8s.io/v1", "StagedNetworkPolicy", "podSelector:", "policyTypes:", "from:", "to:", "ipBlock:",
    "cidr:", "except:", "endPort:", "matchLabels:", "matchExpressions:", "operator: NotIn", "values:",
    "namespace: shop", "http:", "serviceAccounts:", "interfaceName: '*'", "node: web1",
    "expectedIPs: [10.0.0.1]", "profiles: [p]", "nodeSelector: ", "orderr: 1", "all()", "has(a)",
    "projectcalico-default-allow", "defaultAction: Pass", "default", "kube-admin", "::ffff:10.0.0.1/96",
    "spec.labelsToApply", "performanceHints:", "status:", "namespace: x", "interfaces: [{names: [eth*]}]",
)

SETTINGS_WORDS = (
    "apiVersion: hostfw.io/v1", "compatibility: Calico", "node: ", "failsafe:", "inbound:", "outbound:",
    "protocol: tcp", "port: 22", "ports: ", "net: ", "unmanagedInterfaces:", "ingress: ", "egress: ", "allow", "deny",
    "policed",
    "loopback: ", "neighbourDiscovery: ", "invalidPackets: ", "denyAction: ", "reject", "drop", "logging:", "group: ",
    "snaplenBytes: ", "ratePerSecond: ", "burstPackets: ", "learnAddresses: ", "packetMarks: ", "0x30000000",
    "0xffffffff", "lockoutCheck: ", "multicastAnswers: ",
)

FACTS_WORDS = (
    "apiVersion: hostfw.io/v1", "kind: HostFacts", "node: ", "kernel: ", "nft: ", "linkGroups:", "interfaces:",
    "name: ", "index: ", "altnames: ", "linkGroup: ", "master: ", "addresses: ", "defaultRoute: ", "up: ",
    "2147483648", "fe80::1%eth0",
)

FEED_WORDS = (
    "\n", "\r\n", "\r", "\t", " ", "#", "/", "/0", "/8", "/24", "/32", "/33", "/64", "/96", "/128", "/129", "/08", ":",
    "::",
    "::1", "::ffff:", "::ffff:0:0/96", "fe80::1%eth0", "1.2.3.4", "10.0.0.0", "255.255.255.255", "256", "010.0.0.1",
    "1.2.3", "1.2.3.4.", "2001:db8:", "ffff", "0000", "00000", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "\x00", "\u0661",
    "\x85", "\xa0", "\u2028", "\ufeff", "\ud800", "-1", "+1", "0x1", "1_0", "//",
)

SELECTOR_WORDS = (
    "all()", "global()", "has(", "(", ")", "!", "&&", "||", "==", "!=", " in ", " not in ", " notin ", "{", "}", ",",
    "'", '"', " contains ", " starts with ", " startswith ", " ends with ", "a", "role", "'b'", '""', " ", "\t", "\n",
    "=", "&", "\x00", "\ud800", "\xe9", "a" * 513, "/", ".", "-", "and", "or", "not", "with", "()", "{'a','b'}",
    "((((((((", "!!!!",
)

PREFIX_WORDS = (
    "hostfw:", "D", "I", "E", "a", "p", "L", "|", "rule", "failsafe", "tier-default", "~", "default", "0", "9" * 20,
    "\xb2", "\u0663", "-1", "x" * 60, "hostfw:DI|", "\x00", "\ud800",
)

PACKET_WORDS = (
    "\x45", "\x46", "\x4f", "\x40", "\x60", "\x00", "\xff", "\x06", "\x11", "\x3a", "\x2c", "\x33", "\x3b", "\x84",
    "\x00\x00", " \x00", "\x1f\x7f", "\x50\x02", "\x00\x16", "\xff\xff", "\x80", "\x00" * 16, "\n",
)
