"""Vaulted values of variables, as the Ansible collection makes them plain."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/plain.py"
_SPEC = spec_from_file_location("ansible_plain", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
plain = module_from_spec(_SPEC)
_SPEC.loader.exec_module(plain)


class _Vaulted:
    """A text as ansible-core 2.16 hands it on: decrypted when it is asked for, or not at all."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        if not self.text:
            raise RuntimeError("Attempting to decrypt but no vault secrets found\nand more")
        return self.text


def test_values_stay_what_they_are_and_vaulted_texts_become_texts() -> None:
    """All the way down."""
    found = plain.plain({"a": [1, True, None, 1.5, _Vaulted("x")], "b": {"c": "y"}}, "hostfw_labels")

    assert found == {"a": [1, True, None, 1.5, "x"], "b": {"c": "y"}}
    assert type(found["a"][4]) is str
    assert type(found["a"][1]) is bool


@pytest.mark.parametrize("value", [_Vaulted(""), "$ANSIBLE_VAULT;1.1;AES256\n62"])
def test_what_cannot_be_decrypted_is_refused_by_name(value: object) -> None:
    """The way to it is in the message, and nothing of its text."""
    with pytest.raises(plain.VaultedError) as raised:
        plain.plain({"a": [0, value]}, "hostfw_labels")

    assert str(raised.value).startswith("hostfw_labels.a[1] is vaulted and ")
    assert "AES256" not in str(raised.value)


class _Templated(dict[str, object]):
    """Variables that Ansible makes when they are asked for: here of a vaulted part without its secret."""

    def get(self, key: str, default: object = None) -> object:
        """Fail as ansible-core 2.16 does."""
        raise RuntimeError(f"An unhandled exception occurred. Attempting to decrypt {key} but no secrets ({default})")


def test_a_template_of_a_vaulted_value_is_refused_by_the_name_of_its_variable() -> None:
    """Ansible names neither the variable nor the vaulted one in it."""
    with pytest.raises(plain.VaultedError, match=r"^hostfw_allow_office has a vaulted value that cannot be decrypted"):
        plain.PlainVariables(_Templated()).get("hostfw_allow_office")


def test_variables_of_others_are_not_looked_into() -> None:
    """A vaulted password that hostfw does not use stands in nobody's way."""
    variables = plain.PlainVariables({"password": _Vaulted(""), "hostfw_labels": {"a": _Vaulted("x")}})

    assert variables.get("hostfw_labels") == {"a": "x"}
    assert variables.get("nothing", 7) == 7
    assert isinstance(variables.get("password"), _Vaulted)
