"""Workloads as readers write them: whatever an engine says, policy reads the file without a problem."""

from hypothesis import given
from hypothesis import strategies as st

from hostfw.manifest.decode import decode_source
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.sources import Source
from hostfw.workloads.values import Workload, image_label, labels_of, mac_of, manifest, named, namespace_of, networks_of

ODD = st.text(st.characters(), max_size=80) | st.sampled_from(["web", "a_b", "A.b", "10.0.0.2", "::1", "pcns.x", "a/b"])
VALUES = ODD | st.none() | st.integers() | st.lists(st.integers(), max_size=2)


@given(
    names=st.lists(st.tuples(ODD, ODD), min_size=1, max_size=6),
    labels=st.dictionaries(ODD, VALUES, max_size=6),
    own=ODD,
    addresses=st.lists(VALUES | st.ip_addresses().map(str), max_size=4),
    mac=VALUES,
)
def test_whatever_an_engine_says_is_written_as_policy_reads_it(
    names: list[tuple[str, str]], labels: dict[str, object], own: str, addresses: list[object], mac: object
) -> None:
    """Each workload under a name of its own, and with no label that tells namespaces."""
    networks = networks_of(addresses) or ("192.0.2.1",)
    workloads = named(
        Workload(
            identity=f"{number:08x}{identity}",
            wanted_name=name,
            namespace=namespace_of(name),
            orchestrator="docker",
            interface=f"veth{number}",
            networks=networks,
            labels=labels_of(labels, {"name": own, "image": image_label(own)}),
            mac=mac_of(mac),
        )
        for number, (name, identity) in enumerate(names)
    )

    assert len(workloads) == len(names)
    for one in workloads:
        decoded = decode_source(Source("docker.yaml", manifest(one, "docker")))
        assert [problem for problem in decoded.problems if "which no interface has" not in problem.message] == []
        (endpoint,) = decoded.resources
        assert isinstance(endpoint, WorkloadEndpoint)
        assert endpoint.metadata.labels == one.labels
    assert len({(one.namespace, one.name) for one in workloads}) == len(names)
