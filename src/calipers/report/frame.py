"""Pages as lists of sections: what a kind of run registers is framed, styled and written here."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from markupsafe import Markup
from rich.console import RenderableType

from calipers.core.errors import StoreError
from calipers.core.files import write_whole
from calipers.core.registry import Registry
from calipers.core.tasks import Run
from calipers.report.environment import environment
from calipers.report.numbers import script_json
from calipers.report.palette import style_sheet
from calipers.store.store import Store


@runtime_checkable
class Section(Protocol):
    """One part of a page."""

    def html(self) -> str:
        """A <section> element, or nothing where there is nothing to show."""


@dataclass(frozen=True)
class TemplateSection:
    """A template of this room, and the values it shows."""

    template: str
    context: Mapping[str, Any]

    def html(self) -> str:
        """See `Section`."""
        return environment().get_template("section.html.j2").render({**self.context, "template": self.template})


def _nothing(width: int) -> Iterable[RenderableType]:
    return ()


@dataclass(frozen=True)
class View:
    """What a run shows of itself. label: what kind of page it is. numbers: to embed, and for machines.

    rows: the same in the project's shape of rows alone. terminal: what `calipers show` prints on a screen of a width.
    """

    run_id: str
    title: str
    label: str
    version: str
    sections: tuple[Section, ...]
    numbers: dict[str, Any]
    rows: dict[str, Any] = field(default_factory=dict)
    terminal: Callable[[int], Iterable[RenderableType]] = _nothing

    def html(self) -> str:
        """The page; the same view always gives the same text."""
        context = {
            "title": self.title,
            "label": self.label,
            "run_id": self.run_id,
            "version": self.version,
            "sections": tuple(Markup(section.html()) for section in self.sections),  # escaped where they were made
            "palette": Markup(style_sheet()),
            "css": Markup(_text("style.css")),
            "script": Markup(_text("script.js")),
            "data": Markup(script_json(self.numbers)),
        }
        return environment().get_template("page.html.j2").render(context)

    def save(self, path: Path | str) -> Path:
        """Write the page to `path`, whole or not at all, and return the path. Missing folders are made.

        Raises StoreError where the file cannot be written.
        """
        target = Path(path)
        # File names need not be valid text; what can't be encoded is shown as a question mark.
        page = self.html().encode("utf-8", errors="replace")
        try:
            write_whole(target, page)
        except OSError as error:
            raise StoreError(
                f"report {target}: cannot be written ({error}); the run is kept, `calipers report --to FILE` "
                "writes it elsewhere"
            ) from error
        return target


# By kind of run, what it shows. Packages of others register theirs through the entry point "calipers.views".
VIEWS: Registry[Callable[[Store, Run], View]] = Registry("kind of run")


def view_of(store: Store, run_id: str) -> View:
    """The view of a run (an id, a unique prefix of it, or "latest"), from what was kept; nothing is recomputed."""
    run = store.run(run_id)
    if run.kind not in VIEWS:
        _load_others()
    return VIEWS[run.kind](store, run)


@cache
def _load_others() -> None:
    for entry in metadata.entry_points(group="calipers.views"):
        entry.load()


def _text(name: str) -> str:
    return (resources.files("calipers.report") / "templates" / name).read_text(encoding="utf-8")
