import pytest

from calipers.core.errors import InputError
from calipers.core.registry import Registry


def registry() -> Registry[int]:
    entries: Registry[int] = Registry("attack")
    entries.add("pgd")(1)
    return entries


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(InputError, match=r"attack 'pdg' is unknown; did you mean pgd\?"):
        registry()["pdg"]


def test_double_names_are_errors() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        registry().add("pgd")(2)


def test_it_is_a_collection() -> None:
    assert list(registry()) == ["pgd"]
    assert "pgd" in registry()
    assert len(registry()) == 1
