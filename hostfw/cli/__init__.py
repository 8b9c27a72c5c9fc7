"""hostfwctl: one module a verb, and `main`, which the console script calls."""


def main() -> int:
    """Run hostfwctl with the arguments and streams of this process; gives its exit status."""
    from hostfw.cli.process import run_process

    return run_process()
