"""Every deviation from Calico's own tests, with its reason, and nothing else."""

NO_PROXY = "http needs a proxy; ignoring it would open the port to every path"

THIS_HOST = "an endpoint without a node is of every host that reads it"

VALIDATOR: dict[tuple[str, str, str], str] = {
    ("rule", "GlobalNetworkPolicy", "allow HTTP Path with permitted match clauses"): NO_PROXY,
    ("gnp", "GlobalNetworkPolicy", "should accept Allow rule with HTTP clause"): NO_PROXY,
    ("gnp", "GlobalNetworkPolicy", "should accept TCP protocol with HTTP clause"): NO_PROXY,
    ("gnp", "GlobalNetworkPolicy", "should accept missing protocol with HTTP clause"): NO_PROXY,
}
"""Resources that Calico accepts and hostfw refuses, by table, kind and Calico's description of the case."""

ACCEPTED: dict[tuple[str, str, str], str] = {
    ("hep", "HostEndpoint", "should reject HostEndpointSpec with a missing node"): THIS_HOST,
    ("hep", "HostEndpoint", "no node fails"): THIS_HOST,
}
"""Resources that Calico refuses and hostfw accepts, likewise."""

VALIDATED_LATER = "Calico's decoding accepts it and its validator, which hostfw runs in the same step, does not"

PORTS: dict[str, str] = {"0": VALIDATED_LATER, '"0:65535"': VALIDATED_LATER}
"""Port items that numorstring decodes."""

PROTOCOLS: dict[str, str] = {"0": VALIDATED_LATER, '"0"': VALIDATED_LATER, '"256"': VALIDATED_LATER}
"""Protocols that numorstring decodes."""

NEVER_GUESS = "Felix falls back to its defaults and says so in a log; hostfw refuses the settings"

FAILSAFES: dict[str, str] = {"foo:1": NEVER_GUESS, "tcp:0.0.0.0/0:1:bar": NEVER_GUESS}
"""Failsafe texts that Felix replaces by its defaults."""
