"""What puts a configuration into force, takes it back and reports it: the pages of help of these verbs."""

from hostfw.cli.help.page import Page

IN_FORCE = {
    "apply": Page(
        """\
Compile a configuration for this host and put it into force, at one moment for every
packet. Counters, established connections and the tables of other programs stay as
they are. An invalid configuration, or one that the kernel refuses, changes nothing.

The configuration becomes the accepted one: it is enforced again after a reboot. With
--confirm-within it is accepted only once `hostfwctl confirm` is run, and otherwise
taken back when the time is over, whatever has become of hostfwctl by then; a reboot
before comes up with what was accepted. Until then `reload` and `apply` are refused;
`apply --confirm-within` replaces what waits. A change that does not touch the ruleset
is accepted at once.

A configuration that would block connections that this host depends on, such as your own
ssh connection (the next one like it), is refused with what would be lost and why, unless
it is lost already; to do it anyway, add --accept-lockout. lockoutCheck in
hostfw.yaml turns that into a warning, or off.

What the change closes and opens of the services of this host, which `exposure` lists, is
said with the rule that decides; to close what somebody is connected to, or what let
packets in so far, is a warning.

A Feed whose file lost more than its maxShrink of what was accepted keeps the accepted
content, and a warning says so; to accept the loss, add --accept-shrink.

A configuration without any policy or HostEndpoint of this host, where there were some,
or without more than half of them, is refused, and so is one whose HostEndpoints govern
no interface, or no default route, where they did: --accept-loss applies it.

Files of -f that lack resources which are in force are refused as well. --add copies the
files into the configuration directory, where a resource takes the place of the one of
its kind and name, and applies all that is there; what is refused is taken out again.
--replace uses only these files. A directory of -f is all there is by itself.

With -o json the outcome is a document of kind ApplyResult (hostfw.io/v1): result is
applied, unchanged, refused (with problems) or failed (with message and hint),
confirmBy until when it must be confirmed, and saved whether it outlives a reboot.""",
        """\
hostfwctl apply
hostfwctl apply --confirm-within 90s
hostfwctl apply -f staging/
hostfwctl apply -o json | jq -r .result""",
        """\
0  in force, whether or not anything had to change
1  failed; what was in force still is, unless the message says otherwise. Or in force, and
   not saved, as on a full disk: the message says what a reboot leads to
3  the configuration is invalid
4  not permitted""",
    ),
    "confirm": Page(
        """\
Accept what `apply --confirm-within` put into force. It counts only in an ssh session
that began afterwards: an established connection survives every change, so it proves
nothing about the next one. The session is found through the processes above
hostfwctl, also under sudo, but not within tmux or screen. It has to come from
another host, over an interface that a HostEndpoint governs: neither over lo, as a
port that an old session forwards does, nor through a tunnel.

On a console, or if you know that new connections can be made, use --console.

With -o json the outcome is a document of kind ConfirmResult (hostfw.io/v1): result is
accepted, unchanged, taken-back (with reason) or failed (with message and hint).""",
        """\
hostfwctl confirm
ssh web1 sudo hostfwctl confirm
hostfwctl confirm --console""",
        """\
0  accepted, or there was nothing left to confirm
1  refused, with the reason; it still waits to be confirmed
4  not permitted
5  too late: it was taken back""",
    ),
    "rollback": Page(
        """\
Put what was accepted into force again in the place of what waits to be confirmed.

With --to put a stored generation into force and accept it: its configuration is
compiled anew for the host as it is now, or if that is no longer possible its script is
loaded as it was stored. What would lose most of policy is refused as by `apply`, unless
--accept-loss says that it is meant. The configuration directory stays as it is;
`hostfwctl diff` shows how it differs.

Either way, what would cut this host off is refused as by `apply`, unless --accept-lockout
says that it is meant, and so is what would leave no interface with a HostEndpoint, or no
default route, where there were some, unless --accept-loss does. At its deadline a trial
is taken back whatever is lost by it.

With -o json the outcome is a document of kind RollbackResult (hostfw.io/v1): result is
rolled-back, unchanged or failed (with message and hint).""",
        """\
hostfwctl rollback
hostfwctl history
hostfwctl rollback --to 12""",
        """\
0  done
1  failed, or there was nothing to roll back
4  not permitted""",
    ),
    "history": Page(
        """\
List the latest generations with their numbers, and which of them is accepted, in force
or waits to be confirmed.

With -o json or yaml this is a document of kind GenerationList (hostfw.io/v1).""",
        """\
hostfwctl history
hostfwctl history -o json | jq '.items[] | select(.accepted).number'""",
        """\
0  listed, even if there are none
4  not permitted""",
    ),
    "reload": Page(
        """\
As `apply` of the configuration directory. What `systemctl reload hostfw` runs: it
returns when the new generation is in force, and fails if it is not. Warnings that were
told before are not told again until the next boot, so that a reload by a timer is quiet;
`validate` tells them all, and so does -o json.""",
        """\
hostfwctl reload
hostfwctl reload -o json""",
        """\
0  in force, whether or not anything had to change
1  failed; what was in force still is, unless the message says otherwise. Or in force, and
   not saved, as on a full disk: the message says what a reboot leads to
3  the configuration is invalid
4  not permitted""",
    ),
    "status": Page(
        """\
Show the generation in force, when it was applied, for which node, how much it governs,
what waits to be confirmed and for how long, what was last refused or taken back, and
whatever in the kernel differs from what hostfw put there (drift).

What should have been taken back by now, as after a reboot, is taken back first.

With -o json or yaml this is a document of kind Status (hostfw.io/v1).""",
        """\
hostfwctl status
hostfwctl status -o json | jq -e '.drift == []'""",
        """\
0  a generation is in force
1  the kernel could not be asked
4  nothing is in force, or not permitted""",
    ),
}
