"""`hostfwctl fleet`: what configurations come to on every host of a fleet, without any of them."""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.fleet.layout import NoFleetError
from hostfw.cli.fleet.pages import markdown, page, review_document, summary, text_lines
from hostfw.cli.fleet.review import Review, review
from hostfw.cli.input.configuration import refuse
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.problems import manifests
from hostfw.fleet.policy_test import Expectation, decode_tests, parse_service
from hostfw.host.store.configuration.files import read_paths
from hostfw.model.problems import Problem

USAGE = "DIR [--against DIR] [--tests FILE...] [--reach PORT...] [--scripts DIR] [-o FORM]"
HELP = Page(
    """\
Compile a configuration for every host of a fleet, offline, and say what would be
refused. With --against, what it changes on each host in comparison with another state of the
repository: resources, and the ports that it closes and opens. With --tests, whether
connections between hosts are allowed and denied as PolicyTests say. With --reach, who
reaches whom at some ports.

DIR/shared holds the configuration of all hosts. DIR/hosts/NAME/facts.json is what
`hostfwctl interfaces -o json` prints on that host, and DIR/hosts/NAME/etc its own
files, which take the place of shared ones of the same path. `hostfw.hostfw.render`, a
playbook of the Ansible collection, writes such a directory.

A connection is allowed where the way out of the one host and the way in to the other
let it through, between any two of their addresses of one family. Ports whose exposure is
compared are those that rules name; of a range, its first and its last.

With -o json this is a document of kind FleetReview (hostfw.io/v1); markdown is for
the comment of a pull request, html is a page.""",
    """\
hostfwctl fleet build/fleet
hostfwctl fleet build/fleet --against build/main --tests tests/ -o json
hostfwctl fleet build/fleet --reach tcp/22 tcp/5432 -o html > fleet.html""",
    """\
0  every host can enforce it, and every test holds
1  a test does not hold
2  the command line is wrong, or DIR holds no fleet
3  the configuration, the facts of a host or a test are invalid""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("fleet", type=Path, metavar="DIR", help="the fleet")
    parser.add_argument("--against", type=Path, metavar="DIR", help="the fleet that it is compared with")
    parser.add_argument(
        "--tests", nargs="+", type=Path, default=[], metavar="FILE", help="files, or directories, of PolicyTests"
    )
    parser.add_argument(
        "--reach", nargs="+", type=_port, default=[], metavar="PORT", help="ports to tell who reaches whom at: tcp/22"
    )
    parser.add_argument("--scripts", type=Path, metavar="DIR", help="write the nft script of each host there")
    add_output(parser.add_argument, Output.TEXT, Output.JSON, Output.MARKDOWN, Output.HTML)


def _port(text: str) -> str:
    if parse_service(text) is None:
        raise ArgumentTypeError(f'"{text}" is not a port such as tcp/443')
    return text


def run(options: Options, console: Console) -> ExitCode:
    """Print the review of the fleet."""
    expectations = _expectations(options, console)
    if isinstance(expectations, ExitCode):
        return expectations
    services = tuple(service for text in options.reach if (service := parse_service(text)) is not None)
    try:
        found = review(options.fleet, options.against, options.state_dir, expectations, services)
    except NoFleetError as error:
        console.complain(str(error), "`hostfwctl fleet --help` says what the directory holds")
        return ExitCode.USAGE
    if options.scripts is not None:
        _write_scripts(found, options.scripts)
    _print(found, options.output, console)
    if not found.is_valid:
        return ExitCode.INVALID
    return ExitCode.DONE if found.holds else ExitCode.FAILED


def _expectations(options: Options, console: Console) -> tuple[Expectation, ...] | ExitCode:
    """The expectations of all files; what is wrong with one is said."""
    configuration, read_problems = read_paths(options.tests) if options.tests else read_paths([])
    found, problems = list[Expectation](), list[Problem](read_problems)
    for source in manifests(configuration):
        some, wrong = decode_tests(source)
        found += some
        problems += wrong
    return refuse(problems, configuration, console) if problems else tuple(found)


def _print(found: Review, output: Output, console: Console) -> None:
    match output:
        case Output.JSON:
            console.data(json_text(review_document(found)))
        case Output.MARKDOWN:
            console.out.write(markdown(found))
        case Output.HTML:
            console.out.write(page(found))
        case _:
            for line in text_lines(found):
                indent = " " * (len(line) - len(line.lstrip()))
                console.data(*console.filled(line.lstrip(), indent))
            console.say(summary(found))


def _write_scripts(found: Review, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in found.hosts:
        if one.host.generation is not None:
            (folder / f"{one.host.name}.nft").write_text(one.host.generation.script)
