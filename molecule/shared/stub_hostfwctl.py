"""A hostfwctl for many hosts on one machine: what it answers is real, what it enforces is a copy of the files.

    stub_hostfwctl.py STATE [OPTION...] VERB [ARGUMENT...]

STATE holds `etc` (the configuration directory), `accepted`, `trial`, a `log` of the calls with a changed state, and
`seconds`: how long `apply` takes. The check against the loss of most policies, the deadline of a trial and the
exit statuses are those of the real one.
"""

import hashlib
import json
import re
import shutil
import sys
import time
from pathlib import Path


def files(folder: Path) -> dict[str, str]:
    """The files of a configuration by path."""
    found = folder.rglob("*") if folder.is_dir() else ()
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(found) if path.is_file()}


def resources(folder: Path) -> set[str]:
    """The resources of a configuration, as kind/name."""
    found = set()
    for text in files(folder).values():
        for document in re.split(r"^---$", text, flags=re.MULTILINE):
            kind, name = re.search(r"kind: (\w+)", document), re.search(r"\"?name\"?: \"?([a-z0-9.-]+)", document)
            if kind and name:
                found.add(f"{kind[1]}/{name[1]}")
    return found


def generation(folder: Path) -> str:
    """The digest that stands for the compiled rules."""
    return hashlib.sha256(json.dumps(files(folder)).encode()).hexdigest()[:12] if folder.is_dir() else ""


class Host:
    """One host's state."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.etc, self.accepted, self.trial = state / "etc", state / "accepted", state / "trial"
        self.deadline = state / "deadline"
        if self.deadline.exists() and time.time() > float(self.deadline.read_text()):
            self.end_trial()
            self.log("rolled back at the deadline")

    def end_trial(self) -> None:
        """Forget what waits."""
        self.deadline.unlink(missing_ok=True)
        shutil.rmtree(self.trial, ignore_errors=True)

    def log(self, text: str) -> None:
        """Note what changed."""
        with (self.state / "log").open("a") as file:
            file.write(f"{time.time():.3f} {text}\n")

    def status(self) -> dict[str, object]:
        """Answer `status`."""
        active = self.trial if self.deadline.exists() else self.accepted
        names = resources(active)
        counts = {"policies": 0, "endpoints": 0, "interfaces": 1}
        counts["policies"] = sum(name.startswith("GlobalNetworkPolicy/") for name in names)
        counts["endpoints"] = sum(name.startswith("HostEndpoint/") for name in names)
        return {
            "inForce": active.is_dir(),
            "generation": generation(active) or None,
            "counts": counts,
            "drift": [],
            "accepted": generation(self.accepted) or None,
            "confirmation": {"deadline": self.deadline.read_text()} if self.deadline.exists() else None,
        }

    def diff(self, folder: Path) -> tuple[int, str]:
        """Answer `diff`."""
        if files(folder) == files(self.accepted):
            return 0, ""
        old, new = resources(self.accepted), resources(folder)
        lines = [f"+ {name}" for name in sorted(new - old)] + [f"- {name}" for name in sorted(old - new)]
        return 1, "\n".join(lines or ["~ Settings"]) + "\n"

    def comparison(self, folder: Path) -> tuple[int, dict[str, object]]:
        """Answer `diff -o json`: what `apply` would close, and whether it would refuse."""
        status, _ = self.diff(folder)
        refuses, closes = self.state / "refuses", self.state / "closes"
        refusals = (
            [{"kind": "lockout", "message": refuses.read_text(), "hint": "", "more": []}] if refuses.exists() else []
        )
        exposure = [{"change": "closes", "text": closes.read_text(), "answered": None}] if closes.exists() else []
        return status, {"kind": "Comparison", "exposure": exposure, "refusals": refusals}

    def apply(self, options: list[str]) -> tuple[int, dict[str, object]]:
        """Answer `apply`, from the working directory."""
        here = Path.cwd()
        seconds = self.state / "seconds"
        if seconds.exists():
            time.sleep(float(seconds.read_text()))
        old, new = resources(self.accepted), resources(here)
        for kind in ("GlobalNetworkPolicy/", "HostEndpoint/"):
            had, has = (sum(name.startswith(kind) for name in names) for names in (old, new))
            if had and (not has or (had > 4 and has * 2 < had)) and "--accept-loss" not in options:
                return 1, {"result": "failed", "message": f"this would lose {had - has} of {had}", "hint": ""}
        if (self.state / "refuses").exists():
            return 1, {"result": "failed", "message": (self.state / "refuses").read_text(), "hint": ""}
        found: dict[str, object] = {"result": "unchanged", "generation": generation(here), "confirmBy": None}
        if files(here) == files(self.accepted):
            return 0, found
        shutil.rmtree(self.trial, ignore_errors=True)
        shutil.copytree(here, self.trial)
        self.log(f"applied {generation(here)} {' '.join(options)}")
        found["result"] = "applied"
        if "--confirm-within" in options:
            within_s = float(options[options.index("--confirm-within") + 1].rstrip("s"))
            self.deadline.write_text(str(time.time() + within_s))
            found["confirmBy"] = self.deadline.read_text()
        else:
            self.keep()
        return 0, found

    def keep(self) -> None:
        """Accept what waits."""
        shutil.rmtree(self.accepted, ignore_errors=True)
        self.trial.rename(self.accepted)
        self.deadline.unlink(missing_ok=True)

    def confirm(self) -> tuple[int, dict[str, object]]:
        """Answer `confirm`."""
        if not self.deadline.exists():
            return 0, {"result": "unchanged", "generation": generation(self.accepted)}
        self.keep()
        self.log(f"accepted {generation(self.accepted)}")
        return 0, {"result": "accepted", "generation": generation(self.accepted)}

    def rollback(self) -> tuple[int, dict[str, object]]:
        """Answer `rollback`."""
        self.end_trial()
        self.log("rolled back")
        return 0, {"result": "rolled-back", "generation": generation(self.accepted)}

    def disable(self) -> tuple[int, dict[str, object]]:
        """Answer `disable`."""
        self.end_trial()
        shutil.rmtree(self.accepted, ignore_errors=True)
        self.log("disabled")
        return 0, {"result": "disabled"}


def main() -> int:
    """Find the verb, and answer."""
    host = Host(Path(sys.argv[1]))
    words = [word for word in sys.argv[2:] if word not in ("--color=never", "--quiet", "-o", "json")]
    folder = host.etc
    if words[0] == "--config-dir":
        folder, words = Path(words[1]), words[2:]
    if "-f" in words:
        folder = Path.cwd()
    verb, options = words[0], words[1:]
    answers = {"status": lambda: (0, host.status()), "apply": lambda: host.apply(options)}
    answers |= {"confirm": host.confirm, "rollback": host.rollback, "history": lambda: (0, {"items": []})}
    answers |= {"disable": host.disable, "version": lambda: (0, {"hostfw": "0"})}
    answers |= {"interfaces": lambda: (0, {"kind": "HostFacts", "node": host.state.name, "interfaces": []})}
    if verb == "diff" and "-o" in sys.argv:
        status, document = host.comparison(folder)
        sys.stdout.write(json.dumps(document))
        return status
    if verb == "diff":
        status, text = host.diff(folder)
        sys.stdout.write(text + ("nft\n" if "--nft" in options and text else ""))
        return status
    if verb == "validate":
        invalid = host.state / "invalid"
        if invalid.exists():
            sys.stderr.write(invalid.read_text())
            return 3
        return 0
    status, document = answers[verb]()
    sys.stdout.write(json.dumps(document))
    return status


if __name__ == "__main__":
    sys.exit(main())
