"""`hostfwctl bundle`: one signed file of a directory of policy, for hosts to pull."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path

from hostfw.bundle.manifest import ALL, MOST_AFTER_S, MOST_NUMBER, BundleError, Manifest, Wave, is_word
from hostfw.cli.command_line.options import Options
from hostfw.cli.fleet.bundles.endpoint_files import write_endpoint_files
from hostfw.cli.fleet.bundles.make import Content, Rollout, make, read_content
from hostfw.cli.fleet.bundles.tally import read_records, tally_document, write_file
from hostfw.cli.input.configuration import refuse, warn
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import json_text
from hostfw.cli.output.durations import duration_text
from hostfw.cli.output.help_page import Page
from hostfw.host.errors import HostError
from hostfw.model.time.moments import moment_of
from hostfw.model.wording import counted

USAGE = "DIRECTORY -o FILE --key KEY [OPTION...] | --records DIRECTORY -o FILE"
HELP = Page(
    """\
Make one file of all policies below DIRECTORY and of the lists that their Feeds name,
signed with a key of ssh, for `hostfwctl pull` on any number of hosts. A directory with
errors makes no bundle. Settings (hostfw.yaml) are those of a host and have no place in it.

The file is a tar archive with a manifest, and the same for the same input: names are
sorted, and the only time in it is that of its creation, which is --created, or
SOURCE_DATE_EPOCH of the environment, or now. (Keys of ECDSA sign differently each time.)
Hosts take a bundle only if its number is higher than that of the last; without --number
it is the time of its creation in seconds. --name keeps fleets apart that trust one key.

With --wave hosts do not all take it at once: `--wave canary@0 --wave all:10%@30m
--wave all@2h` is for those of ring canary at once, for a tenth of all hosts half an
hour after the creation, and for all after two hours. With --most-failed PERCENT a
later wave begins only once --least-confirmed hosts have confirmed the bundle, and no
host takes it any more once so many of those that tried have failed. Hosts read
that from a tally: `hostfwctl bundle --records DIRECTORY -o FILE` counts the status
records that hosts have sent.

With --separate-endpoints files that hold only HostEndpoints and WorkloadEndpoints are not
part of the bundle. Each host takes the endpoints that the rules for its own endpoints ask
for, from the directory FILE.d, whose files are named after their content and are covered by
the signature of the bundle. Copy the directory before the bundle.""",
    """\
hostfwctl bundle policies/ -o web.hostfw --key key
hostfwctl bundle policies/ -o web.hostfw --key key --wave web@0 --wave all@1h
hostfwctl bundle --records records/ -o tally.json""",
    """\
0  written
1  failed: it could not be signed or written
2  the command line is wrong
3  the configuration is invalid; nothing was written""",
)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WHOLE = 100


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("fleet", nargs="?", type=Path, default=Path(), metavar="DIRECTORY", help="the policies")
    parser.add_argument("-o", "--output-file", dest="archive", type=Path, metavar="FILE", help="the file to write")
    parser.add_argument("--key", type=Path, metavar="KEY", help="the private key, or the public one of an agent's key")
    parser.add_argument("--number", type=_number, metavar="N", help="the number (default: the time of creation)")
    parser.add_argument("--created", type=_moment, metavar="TIME", help="the time of creation: 2030-01-31T12:00:00Z")
    parser.add_argument(
        "--name", dest="bundle_name", type=_word, metavar="NAME", help="whose bundles these are (default: default)"
    )
    parser.add_argument(
        "--wave",
        dest="waves",
        action="append",
        type=wave,
        default=[],
        metavar="RING[:SHARE%]@TIME",
        help="from TIME after the creation on, hosts of RING take it; repeatable",
    )
    parser.add_argument(
        "--most-failed", type=_percent, metavar="PERCENT", help="stop once more of those that tried have failed"
    )
    parser.add_argument(
        "--least-confirmed",
        type=_number,
        default=1,
        metavar="N",
        help="hosts that confirm it before a later wave begins (default: 1)",
    )
    parser.add_argument(
        "--separate-endpoints",
        action="store_true",
        help="write endpoints to FILE.d/, for each host those that it needs",
    )
    parser.add_argument("--records", type=Path, metavar="DIRECTORY", help="write a tally of these status records")


def wave(text: str) -> Wave:
    """A wave such as `canary@0` or `all:10%@30m`. Raises ArgumentTypeError."""
    who, at, time = text.partition("@")
    ring, colon, share = who.partition(":")
    digits, unit = (time, "s") if time.isdigit() else (time[:-1], time[-1:])
    seconds = int(digits) * _UNITS_S[unit] if digits.isdigit() and len(digits) < 9 and unit in _UNITS_S else -1
    percent = share.removesuffix("%")
    of_all = int(percent) if percent.isdigit() and len(percent) < 4 else 0
    if not at or not is_word(ring) or (colon and not 1 <= of_all <= _WHOLE) or not 0 <= seconds <= MOST_AFTER_S:
        expected = f"RING@TIME or RING:10%@TIME with a TIME such as 0, 30m or 2h, at most 30d; RING {ALL} is every host"
        raise ArgumentTypeError(f'"{text}" is no wave; expected {expected}')
    return Wave(seconds, ring, of_all if colon else _WHOLE)


def run(options: Options, console: Console) -> ExitCode:
    """Make a bundle, or a tally."""
    if options.archive is None or (options.records is None and (options.key is None or options.fleet == Path())):
        missing = "-o FILE" if options.archive is None else "--key KEY" if options.key is None else "DIRECTORY"
        console.complain(f"{missing} is missing", f"expected: hostfwctl bundle {USAGE}")
        return ExitCode.USAGE
    try:
        if options.records is not None:
            text = json_text(tally_document(read_records(options.records)))
            write_file(options.archive, text.encode() + b"\n")
            console.say(f"{options.archive} was written")
            return ExitCode.DONE
        content = read_content(options.fleet, separate_endpoints=options.separate_endpoints)
        if not content.is_valid:
            return refuse(content.problems, content.configuration, console, "nothing was written")
        warn(content.problems, content.configuration, console)
        return _make(content, options, options.archive, options.key or Path(), console)
    except (BundleError, HostError) as error:
        console.complain(error.message, error.hint)
        return ExitCode.FAILED


def _make(content: Content, options: Options, archive: Path, key: Path, console: Console) -> ExitCode:
    rollout = Rollout(
        options.bundle_name or "default",
        options.number,
        options.created,
        options.waves,
        options.most_failed,
        options.least_confirmed,
    )
    manifest, data = make(content, rollout, key)
    if content.endpoint_files:
        write_endpoint_files(archive, content.endpoint_files)
    write_file(archive, data)
    console.say(
        f"{archive} was written: bundle {manifest.number} ({manifest.name}), {counted(len(manifest.files), 'file')}, "
        f"{counted(len(data), 'byte')}{_beside(content)}{_when(manifest)}"
    )
    return ExitCode.DONE


def _beside(content: Content) -> str:
    size = sum(map(len, content.endpoint_files.values()))
    endpoint_files = f"{counted(len(content.endpoint_files), 'file')} with endpoints beside it, {counted(size, 'byte')}"
    return f"; {endpoint_files}" if content.endpoint_files else ""


def _when(manifest: Manifest) -> str:
    said = (
        f"{one.ring}{'' if one.share == _WHOLE else f' {one.share} %'} "
        f"{f'after {duration_text(one.after_s)}' if one.after_s else 'at once'}"
        for one in manifest.waves
    )
    return f"; for {', '.join(said)}" if manifest.waves else ""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= MOST_NUMBER):
        raise ArgumentTypeError(f'"{text}" is not a number from 1 to {MOST_NUMBER}')
    return int(text)


def _percent(text: str) -> int:
    number = text.removesuffix("%")
    if not (number.isascii() and number.isdigit() and int(number[:4]) <= _WHOLE):
        raise ArgumentTypeError(f'"{text}" is no percentage from 0 to 100')
    return int(number)


def _word(text: str) -> str:
    if not is_word(text):
        raise ArgumentTypeError(f'"{text}" is no name; expected letters, digits, dots and hyphens')
    return text


def _moment(text: str) -> datetime:
    found = moment_of(text)
    if found is None:
        raise ArgumentTypeError(f'"{text}" is not a time with its zone; expected one such as 2030-01-31T12:00:00Z')
    return found
