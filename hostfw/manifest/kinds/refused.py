"""Fields and kinds that Calico has and hostfw refuses: the reason, and what to write instead.

A field that only Kubernetes gives a meaning to would match nothing on a host. In an Allow that closes, in a Deny it
opens, and the person who wrote it believes otherwise; so it is refused rather than ignored.
"""

from hostfw.manifest.fields import Blank, Refusal

_NOT_YET = "it is not supported by this version of hostfw"
_OF_ENTERPRISE = Refusal(
    "it is Calico Enterprise's, and nftables knows addresses only", "list the addresses in nets", Blank.NOTHING
)
_NO_ACCOUNTS = "it selects accounts of Kubernetes, which workloads of a host do not have"

POLICY_FIELDS = {
    "serviceAccountSelector": Refusal(_NO_ACCOUNTS, "select endpoints by their labels with spec.selector", Blank.TEXT),
    "stagedAction": Refusal("it belongs to staged policies", "write kind: StagedGlobalNetworkPolicy", Blank.TEXT),
}

RULE_FIELDS = {
    "http": Refusal(
        "it needs a proxy that reads HTTP; a packet filter that left it out would allow every path",
        "match the port, and filter requests in the web server",
    ),
}

ENTITY_FIELDS = {
    "services": Refusal("it names a Kubernetes Service", "list its addresses in nets, or select a GlobalNetworkSet"),
    "serviceAccounts": Refusal(_NO_ACCOUNTS, "select endpoints or a GlobalNetworkSet by label with selector"),
    "domains": _OF_ENTERPRISE,
}

NETWORK_SET_FIELDS = {
    "allowedEgressDomains": _OF_ENTERPRISE,
}

_CLUSTER = "it configures a Kubernetes cluster, not a host"

KINDS = {
    "StagedKubernetesNetworkPolicy": Refusal(_NOT_YET, "write a StagedNetworkPolicy"),
    "FelixConfiguration": Refusal("it configures Calico's agent", "write /etc/hostfw/hostfw.yaml"),
    "PolicyTest": Refusal(_NOT_YET),
    "HostFacts": Refusal("facts describe a host and are no policy", "give the file to --facts"),
    "Settings": Refusal("settings are read from hostfw.yaml alone", "move it to hostfw.yaml"),
} | dict.fromkeys(
    (
        "BGPConfiguration",
        "BGPFilter",
        "BGPPeer",
        "BlockAffinity",
        "CalicoNodeStatus",
        "ClusterInformation",
        "IPAMConfig",
        "IPPool",
        "IPReservation",
        "KubeControllersConfiguration",
        "Node",
    ),
    Refusal(_CLUSTER, "leave it out of this directory"),
)

API_VERSIONS = {
    "crd.projectcalico.org/v1": Refusal("it is the form in which Kubernetes stores Calico's resources"),
    "projectcalico.org/v1": Refusal("it is the form of Calico before version 3"),
    "v1": Refusal(
        "it is a Kubernetes resource, or one of Calico before version 3", "leave it out, or write projectcalico.org/v3"
    ),
    **dict.fromkeys(
        ("policy.networking.k8s.io/v1alpha1", "policy.networking.k8s.io/v1alpha2"),
        Refusal("of it hostfw knows ClusterNetworkPolicy of v1alpha2 alone", "write a ClusterNetworkPolicy"),
    ),
    "networking.k8s.io/v1": Refusal("of it hostfw knows NetworkPolicy alone", "leave it out of this directory"),
}
