# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of variables as plain data: what is vaulted is decrypted, or refused by name."""

from __future__ import annotations


class VaultedError(ValueError):
    """A vaulted value that this run cannot decrypt; the text names it."""


def plain(value, name):
    """The same value of dictionaries, lists, texts, numbers and truth values, whatever Ansible made them of.

    ansible-core before 2.19 hands vaulted texts on undecrypted, with `data` that decrypts. `name` is what the message
    calls the value. Raises VaultedError.
    """
    try:
        return _plain(value, name)
    except VaultedError:
        raise
    except Exception as error:
        raise _named(error, name) from error


def _plain(value, name):
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _plain(value[key], f"{name}.{key}") for key in value}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{name}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, bool) or value is None or type(value) in (int, float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return _text(value, name)


def _text(value, name):
    try:
        found = str(value)
    except Exception as error:
        raise VaultedError(f"{name} is vaulted and cannot be decrypted: {_first_line(error)}") from error
    if found.startswith("$ANSIBLE_VAULT;"):
        raise VaultedError(f"{name} is vaulted and was not decrypted; mark it with !vault, and give the vault's secret")
    # A plain str, and none of Ansible's that a YAML writer would mark.
    return str.__str__(found)


def _named(error, name):
    """The error that names the value, where Ansible could not decrypt what a template in it has, or else the same."""
    said = f"{type(error).__name__} {error}".lower()
    if "vault" not in said and "decrypt" not in said:
        return error
    why = _first_line(error.__cause__ or error)
    return VaultedError(f"{name} has a vaulted value that cannot be decrypted: {why}")


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class PlainVariables:
    """Variables of a host, of which those of hostfw and its address are plain data."""

    def __init__(self, variables):
        self.variables = variables

    def get(self, name, default=None):
        """The value of a variable. Raises VaultedError."""
        try:
            value = self.variables.get(name, default)
        except Exception as error:
            raise _named(error, name) from error
        return plain(value, name) if str(name).startswith("hostfw_") or name == "ansible_host" else value

    def __getitem__(self, name):
        return self.get(name)

    def __iter__(self):
        return iter(self.variables)
