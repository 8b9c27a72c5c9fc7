"""`hostfwctl promote`: the change of files that enforces a staged policy."""

import json
import subprocess
from pathlib import Path

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.host.store.configuration.files import read_configuration
from tests.unit.cli_runs import Machine, hostfwctl, machine

STAGED = """\
# What it is for.
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: web
spec:
  stagedAction: Set   # not yet
  selector: all()
  ingress:
    - action: Deny
"""
PLAIN = STAGED.replace("  stagedAction: Set   # not yet\n", "")
FLOW = "{apiVersion: projectcalico.org/v3, kind: StagedGlobalNetworkPolicy, metadata: {name: web}, spec: %s}\n"
ENFORCED = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec: {selector: all(), ingress: [{action: Allow}]}
"""
OTHER = ENFORCED.replace("name: web", "name: other")
DELETE = """\
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: web}
spec: {stagedAction: Delete}
"""
ANCHORED = """\
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
spec: {stagedAction: &set Set, selector: all()}
metadata: {name: web, annotations: {was: *set}}
"""
JSON = json.dumps(
    {
        "apiVersion": "projectcalico.org/v3",
        "kind": "StagedGlobalNetworkPolicy",
        "metadata": {"name": "web", "annotations": {"owner": "\U0001f98a"}},
        "spec": {"stagedAction": "Set", "selector": "all()"},
    }
)
LIST = """\
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicyList
items:
  - apiVersion: projectcalico.org/v3
    kind: StagedGlobalNetworkPolicy
    metadata: {name: web}
    spec: {selector: all()}
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which nothing is in force: only files are looked at."""
    return machine(tmp_path, monkeypatch)


PROMOTED: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("a document", {"a": PLAIN}, {"a": PLAIN.replace("kind: Staged", "kind: ")}),
    (
        "one with an action of its own line",
        {"a": STAGED},
        {"a": STAGED.replace("kind: Staged", "kind: ").replace("stagedAction: Set   # not yet", "# not yet")},
    ),
    (
        "one with an action of its own line and no more",
        {"a": STAGED.replace("   # not yet", "")},
        {"a": PLAIN.replace("kind: Staged", "kind: ")},
    ),
    (
        "JSON with a character that it writes as two",
        {"a": f"{JSON}\n"},
        {"a": JSON.replace("Staged", "", 1).replace('"stagedAction": "Set", ', "") + "\n"},
    ),
    (
        "one in a line, its action without a value",
        {"a": FLOW % "{stagedAction, selector: all()}"},
        {"a": (FLOW % "{selector: all()}").replace("kind: Staged", "kind: ")},
    ),
    (
        "one in a line, its action first",
        {"a": FLOW % "{stagedAction: Set, selector: all()}"},
        {"a": (FLOW % "{selector: all()}").replace("kind: Staged", "kind: ")},
    ),
    (
        "one in a line, its action last",
        {"a": FLOW % "{selector: all(), stagedAction: Learn}"},
        {"a": (FLOW % "{selector: all()}").replace("kind: Staged", "kind: ")},
    ),
    (
        "one with its kind in quotes",
        {"a": PLAIN.replace("StagedGlobalNetworkPolicy", '"StagedGlobalNetworkPolicy"')},
        {"a": PLAIN.replace("StagedGlobalNetworkPolicy", '"GlobalNetworkPolicy"')},
    ),
    (
        "one among others",
        {"a": f"{OTHER}---\n{PLAIN}---\n{OTHER.replace('other', 'third')}"},
        {"a": f"{OTHER}---\n{PLAIN.replace('kind: Staged', 'kind: ')}---\n{OTHER.replace('other', 'third')}"},
    ),
    (
        "one in the place of an enforced one in another file",
        {"a": PLAIN, "b": ENFORCED, "c": OTHER},
        {"a": PLAIN.replace("kind: Staged", "kind: "), "b": "", "c": OTHER},
    ),
    (
        "one in the place of an enforced one before it",
        {"a": f"{ENFORCED}---\n{PLAIN}"},
        {"a": PLAIN.replace("kind: Staged", "kind: ")},
    ),
    (
        "one in the place of an enforced one behind it",
        {"a": f"{PLAIN}---\n# The one in force.\n{ENFORCED}---\n{OTHER}"},
        {"a": f"{PLAIN.replace('kind: Staged', 'kind: ')}---\n{OTHER}"},
    ),
    ("a deletion", {"a": DELETE, "b": f"{OTHER}---\n{ENFORCED}"}, {"a": "", "b": OTHER}),
    ("no newline at the end", {"a": PLAIN.rstrip("\n")}, {"a": PLAIN.rstrip("\n").replace("kind: Staged", "kind: ")}),
]


OTHER_FLOW = (
    "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: third}, spec: {selector: all()}}\n"
)
TEXT = '\n  annotations: {note: "a\n    ---\n    b"}'
FLOW_ENFORCED = (
    "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: web}, spec: {selector: all()}}\n"
)
FLOW_STAGED = FLOW % "{selector: all()}"
KEYS = ("'stagedAction':", '"stagedAction" :', '"staged\\x41ction":', "? stagedAction\n  :", "!!str stagedAction:")
HARD: list[tuple[str, dict[str, str], dict[str, str]]] = [
    (
        "flow mappings behind their separators",
        {"a": f"{OTHER}--- {FLOW_ENFORCED}--- {FLOW_STAGED}--- {OTHER_FLOW}"},
        {"a": f"{OTHER}--- {FLOW_STAGED.replace('kind: Staged', 'kind: ')}--- {OTHER_FLOW}"},
    ),
    (
        "a flow mapping behind the one that goes",
        {"a": f"{ENFORCED}--- {FLOW_STAGED}"},
        {"a": f"--- {FLOW_STAGED.replace('kind: Staged', 'kind: ')}"},
    ),
    (
        "a first document with a separator",
        {"a": f"---\n{ENFORCED}---\n{PLAIN}"},
        {"a": f"---\n{PLAIN.replace('kind: Staged', 'kind: ')}"},
    ),
    (
        "documents that end, and directives",
        {"a": f"%YAML 1.1\n---\n{ENFORCED}...\n%YAML 1.1\n---\n{PLAIN}...\n%YAML 1.1\n---\n{OTHER}"},
        {"a": f"%YAML 1.1\n---\n{PLAIN.replace('kind: Staged', 'kind: ')}...\n%YAML 1.1\n---\n{OTHER}"},
    ),
    *(
        (
            f"a key as {key.strip()}",
            {"a": STAGED.replace("stagedAction: Set   # not yet", f"{key} Set")},
            {"a": PLAIN.replace("kind: Staged", "kind: ")},
        )
        for key in (
            "'stagedAction':",
            '"stagedAction" :',
            '"staged\\x41ction":',
            "? stagedAction\n  :",
            "!!str stagedAction:",
        )
    ),
    (
        "a quoted key in a line",
        {"a": FLOW % "{'selector': all(), \"stagedAction\": 'Set' , 'order': 5}"},
        {"a": (FLOW % "{'selector': all(), 'order': 5}").replace("kind: Staged", "kind: ")},
    ),
    (
        "lines in brackets",
        {"a": FLOW % "{\n  stagedAction: Set,\n  selector: all()\n}"},
        {"a": (FLOW % "{\n  selector: all()\n}").replace("kind: Staged", "kind: ")},
    ),
    (
        "an action that is left out",
        {"a": STAGED.replace("stagedAction: Set   # not yet", "stagedAction:")},
        {"a": PLAIN.replace("kind: Staged", "kind: ")},
    ),
    (
        "a kind that is quoted, with its key",
        {"a": PLAIN.replace("kind: StagedGlobalNetworkPolicy", "'kind': 'StagedGlobalNetworkPolicy'")},
        {"a": PLAIN.replace("kind: StagedGlobalNetworkPolicy", "'kind': 'GlobalNetworkPolicy'")},
    ),
    (
        "a kind in escapes",
        {"a": PLAIN.replace("kind: Staged", 'kind: "\\x53taged').replace("Policy\nmeta", 'Policy"\nmeta')},
        {"a": PLAIN.replace("kind: Staged", "kind: ")},
    ),
    (
        "other ends of lines in a comment",
        {"a": f"# one\u2028# two\x85# three\n{STAGED}"},
        {
            "a": "# one\u2028# two\x85# three\n"
            + STAGED.replace("kind: Staged", "kind: ").replace("stagedAction: Set   # not yet", "# not yet")
        },
    ),
    (
        "an alias",
        {
            "a": PLAIN.replace(
                "metadata:\n", "metadata:\n  annotations: {a: &kind StagedGlobalNetworkPolicy}\n"
            ).replace("kind: StagedGlobalNetworkPolicy\n", "")
            + "kind: *kind\n"
        },
        {
            "a": PLAIN.replace(
                "metadata:\n", "metadata:\n  annotations: {a: &kind StagedGlobalNetworkPolicy}\n"
            ).replace("kind: StagedGlobalNetworkPolicy\n", "")
            + "kind: GlobalNetworkPolicy\n"
        },
    ),
    (
        "three dashes in a text",
        {"a": f"{PLAIN.replace('metadata:', 'metadata:' + TEXT)}---\n{ENFORCED}"},
        {"a": PLAIN.replace("metadata:", "metadata:" + TEXT).replace("kind: Staged", "kind: ")},
    ),
]


@pytest.mark.parametrize(("before", "after"), [pytest.param(*case[1:], id=case[0]) for case in (*PROMOTED, *HARD)])
def test_a_patch_enforces_it(host: Machine, before: dict[str, str], after: dict[str, str]) -> None:
    """Patch(1) applies it, and what comes out has the policy and is valid; nothing else of a file is touched."""
    host.write(**before)
    status, out, err = hostfwctl(f"--config-dir={host.config}", "promote", "web")
    assert (status, "patch -p1 -d /" in err) == (0, True), err

    subprocess.run(["patch", "-p1", "-s", "-d", "/"], input=out, text=True, check=True)

    there = {path.stem: path.read_text() for path in host.config.iterdir()}
    assert {name: there.get(name, "") for name in after} == after
    candidate = check_candidate(*read_configuration(host.config))
    assert candidate.is_valid
    assert not candidate.resources.staged_policies
    assert any(p.metadata.name == "web" for p in candidate.resources.policies) is not (before["a"] == DELETE)


OF_A_NAMESPACE = """\
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {ingress: [{action: Allow}]}
"""
REFUSED = [
    ("no such policy", {"a": PLAIN}, "other", 'there is no staged policy "other"\n  hint: staged are: web\n'),
    (
        "none at all",
        {"a": OTHER},
        "web",
        'there is no staged policy "web"\n  hint: no policy of this configuration is staged\n',
    ),
    (
        "one of a namespace",
        {"a": OF_A_NAMESPACE},
        "shop/web",
        (
            'etc/a.yaml:1:1: "shop/web" is a StagedNetworkPolicy, which no patch is made of\n  hint: write kind: '
            "NetworkPolicy in its file, without stagedAction, in the place of an enforced one of its name\n"
        ),
    ),
    (
        "one that is called otherwise in its namespace",
        {"a": OF_A_NAMESPACE},
        "web",
        'there is no staged policy "web"\n  hint: staged are: shop/web\n',
    ),
    (
        "one that proposes nothing",
        {"a": PLAIN.replace("spec:", "spec:\n  stagedAction: Ignore")},
        "web",
        'etc/a.yaml:2:1: "web" has stagedAction: Ignore, which proposes nothing\n',
    ),
    (
        "one whose action is repeated further down",
        {"a": ANCHORED},
        "web",
        (
            'etc/a.yaml:1:1: "web" is written in a way that cannot be changed safely\n'
            "  hint: write the enforced policy by hand, without anchors and aliases\n"
        ),
    ),
    (
        "an item of a list",
        {"a": LIST},
        "web",
        (
            'etc/a.yaml:4:5: "web" is one of a list, which would have to be taken apart\n'
            "  hint: write it as a document of its own first\n"
        ),
    ),
    (
        "one in the place of an item of a list",
        {"a": PLAIN, "b": LIST.replace("Staged", "")},
        "web",
        (
            'etc/b.yaml:4:5: "web" is one of a list, which would have to be taken apart\n'
            "  hint: write it as a document of its own first\n"
        ),
    ),
]


@pytest.mark.parametrize(
    ("files", "name", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_be_promoted_is_said(host: Machine, files: dict[str, str], name: str, message: str) -> None:
    """With where it stands, and what to do."""
    host.write(**files)

    status, out, err = host.hostfwctl("promote", name)

    assert (status, out, err) == (1, "", f"hostfwctl: {message}")


def test_an_invalid_configuration_is_refused(host: Machine) -> None:
    """As everywhere."""
    host.write(a=PLAIN.replace("selector", "selectr"))

    assert host.hostfwctl("promote", "web").status == 3
