"""Numbers of things, in words."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number of things: 1 policy, 2 policies."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
