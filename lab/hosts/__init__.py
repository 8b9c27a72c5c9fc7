"""Whole Debian hosts for tests: they boot systemd, log to a journal of their own, and are real but for the kernel.

    with wire() as network, debian(Release.TRIXIE, "web", (Uplink(network, addresses=addresses),)) as host:
        host.run(["systemctl", "is-system-running"])
        host.reboot()

Each is a systemd-nspawn container over a root image that is made once. A host has a network namespace of its own, made
anew at each start, so that nothing of a ruleset outlives a reboot. `python3 -m lab.hosts` has the same hosts
for those who do not write Python.
"""
