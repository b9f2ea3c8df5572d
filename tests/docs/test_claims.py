"""What the pages say about the program is what the program says about itself."""

import re
import tomllib

import typer.core
import typer.main

import calipers
from calipers.attacks import ATTACKS, MINIMUM_NORM_ATTACKS
from calipers.cli.main import app
from calipers.models import ZOO
from calipers.verify import VERIFIERS
from tests.docs.pages import PAGES, ROOT

PROGRAM = typer.main.get_command(app)
assert isinstance(PROGRAM, typer.core.TyperGroup)
COMMANDS = PROGRAM.commands


def test_every_method_and_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    commands = (f"calipers {name}" for name in COMMANDS)
    named = [*ATTACKS, *MINIMUM_NORM_ATTACKS, *VERIFIERS, *commands]
    assert [name for name in named if f"`{name}`" not in readme] == []


def test_every_option_that_a_page_names_exists():
    known = {"--help", "--version"}
    for command in COMMANDS.values():
        known |= {option for parameter in command.params for option in parameter.opts}
    for page in PAGES:
        for line in re.findall(
            r"calipers (?:measure|compare|demo|train|show|runs|report|models) [^`\n]*", page.read_text()
        ):
            assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", line)) <= known, f"{page.name}: {line}"


def test_every_network_that_a_page_names_exists():
    families = {name.partition(".")[0] for name in ZOO}
    for page in PAGES:
        for name in re.findall(r"--model (\w+\.\w+)", page.read_text()):
            assert name in ZOO or name.partition(".")[0] not in families, f"{page.name}: {name}"


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == calipers.__version__
    assert f"## [{calipers.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert re.search(
        rf"^version: {re.escape(calipers.__version__)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE
    )
