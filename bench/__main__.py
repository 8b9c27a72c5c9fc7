"""Print every table of figures, line by line as they are measured."""

from bench import apply, everyday, exposure, flood, reload, sets, startup, validate, workloads
from bench.fleets import fleet


def main() -> None:
    """Measure what needs no privileges first."""
    for bench in (validate, exposure, startup, apply, reload, sets, flood, fleet, everyday, workloads):
        for line in bench.lines():
            print(line, flush=True)


if __name__ == "__main__":
    main()
