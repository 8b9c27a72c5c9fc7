"""Denied packets of a host are found in the journal of a collector, with the configuration of examples/monitoring."""

import json
import subprocess
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[3] / "examples/monitoring"
_PROGRAMS = Path("/lib/systemd")
_ENTRY = """\
__REALTIME_TIMESTAMP=1795974526000000
__MONOTONIC_TIMESTAMP=1000000
_BOOT_ID=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
_MACHINE_ID=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
_HOSTNAME=web1
SYSLOG_IDENTIFIER=hostfw
HOSTFW_ACTION=deny
HOSTFW_POLICY=web
HOSTFW_SRC_ADDR=192.0.2.7
MESSAGE=denied ingress

"""
_CERTIFICATES = """
set -e
key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $key -keyout ca.key -out ca.pem -days 2 -subj /CN=fleet
openssl req $key -keyout own.key -out own.csr -subj /CN=localhost -addext subjectAltName=DNS:localhost
openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out own.pem -copy_extensions copy
"""
_BOTH = """
set -e
ip link set lo up
mount --bind journal-remote.conf /etc/systemd/journal-remote.conf
mount --bind journal-upload.conf /etc/systemd/journal-upload.conf
{programs}/systemd-journal-remote --listen-https=19532 --output=$PWD/collector/ & remote=$!
for try in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/19532) 2>/dev/null && break; sleep 0.1; done
timeout 60 {programs}/systemd-journal-upload --save-state=$PWD/state --follow=no --directory=$PWD/host
kill $remote
wait $remote
"""


def _run(script: str, folder: Path, *argv: str) -> None:
    done = subprocess.run(
        [*argv, "bash", "-c", script], check=False, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    not (_PROGRAMS / "systemd-journal-remote").exists(),
    reason="Debian's package systemd-journal-remote is not installed",
)
def test_a_denied_packet_of_a_host_is_in_the_journal_of_the_collector(tmp_path: Path) -> None:
    """Over HTTPS, with the certificates that both files name, and found by the field of a policy."""
    for name in ("host", "collector"):
        (tmp_path / name).mkdir()
    _run(_CERTIFICATES, tmp_path)
    places = {
        "/etc/ssl/private/journal-remote.pem": "own.key",
        "/etc/ssl/certs/journal-remote.pem": "own.pem",
        "/etc/ssl/private/journal-upload.pem": "own.key",
        "/etc/ssl/certs/journal-upload.pem": "own.pem",
        "/etc/ssl/certs/fleet-ca.pem": "ca.pem",
    }
    for name in ("journal-remote.conf", "journal-upload.conf"):
        text = (_FOLDER / name).read_text().replace("logs.example.com", "localhost")
        for place, here in places.items():
            text = text.replace(place, str(tmp_path / here))
        (tmp_path / name).write_text(text)
    argv = [f"{_PROGRAMS}/systemd-journal-remote", "-o", f"{tmp_path}/host/host.journal", "-"]
    subprocess.run(argv, check=True, input=_ENTRY, text=True, capture_output=True, timeout=60)

    _run(_BOTH.format(programs=_PROGRAMS), tmp_path, "unshare", "--net", "--mount")

    look = ["journalctl", "--directory", f"{tmp_path}/collector", "-t", "hostfw", "HOSTFW_POLICY=web", "-o", "json"]
    found = subprocess.run(look, check=True, capture_output=True, text=True, timeout=60).stdout
    (entry,) = map(json.loads, found.splitlines())
    assert (entry["_HOSTNAME"], entry["HOSTFW_SRC_ADDR"]) == ("web1", "192.0.2.7")
