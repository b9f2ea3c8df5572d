import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from tests.docs.pages import ROOT

REQUIRED = {"authors", "cff-version", "message", "title"}
TYPES = {"article", "conference-paper", "generic", "report", "thesis", "unpublished"}


@pytest.fixture
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def people(entry):
    return [bool(person.get("name") or (person.get("family-names") and person.get("given-names"))) for person in entry]


def test_required_fields(citation):
    assert set(citation) >= REQUIRED
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "Apache-2.0"
    assert all(people(citation["authors"]))


def test_the_five_papers_are_named(citation):
    references = citation["references"]
    assert len({reference["title"] for reference in references}) == 5
    for reference in references:
        assert reference["type"] in TYPES
        assert all(people(reference["authors"]))
