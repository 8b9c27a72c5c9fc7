"""The versions of resources and documents, apart from the resources: every `-o json` names one."""

CALICO_V3 = "projectcalico.org/v3"
HOSTFW_V1 = "hostfw.io/v1"
KUBERNETES_V1 = "v1"
NETWORKING_V1 = "networking.k8s.io/v1"
CLUSTER_POLICY_V1 = "policy.networking.k8s.io/v1alpha2"
