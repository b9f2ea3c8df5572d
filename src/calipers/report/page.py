"""The report as one self-contained HTML page."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calipers.core.rates import Rate
from calipers.evaluate.robustness.certify import Certificates
from calipers.evaluate.robustness.requirement import Requirement, RequirementOutcome, as_requirements
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.report.frame import View
from calipers.report.gallery import GalleryItem
from calipers.report.nouns import Nouns, nouns
from calipers.report.numbers import all_numbers
from calipers.report.render import Shown, sections
from calipers.report.requirements import requirement_json, requirement_lines
from calipers.report.threat import allowed
from calipers.report.verdict import verdict, warning_lines


@dataclass(frozen=True, repr=False)
class Report:
    """A run's numbers, its gallery of nearest adversarial examples, the store they came from, and its certificates.

    shape: of one sample, where it is known. requirements: levels that were asked for, beside what was measured.
    In a notebook it shows itself; `save` writes it as one HTML file; `str` is the verdict in plain words, with the
    warnings.
    """

    numbers: RobustnessReport
    gallery: tuple[GalleryItem, ...] = ()
    store_path: Path | None = None
    certificates: Certificates | None = None
    shape: tuple[int, ...] | None = None
    requirements: tuple[RequirementOutcome, ...] = ()

    @property
    def words(self) -> Nouns:
        """What samples and values of this data are called."""
        return nouns(self.gallery[0].original.shape if self.shape is None and self.gallery else self.shape)

    def rate(self, name: str, epsilon: float | None = None) -> Rate:
        """One row of the numbers, e.g. `rate("certified", 0.03)`; KeyError if the run has none."""
        return self.numbers.rate(name, epsilon)

    def require(self, level: str | Requirement) -> RequirementOutcome:
        """Whether the run reaches a level such as "certified >= 0.9 @ 0.02"; InputError where it is no such level."""
        (requirement,) = as_requirements(level, self.numbers.task.epsilons)
        return requirement.check(self.numbers)

    @property
    def view(self) -> View:
        """The page and the tables of the run."""
        numbers, task = self.numbers, self.numbers.task
        shown = Shown(numbers, self.words, self.gallery, self.store_path, self.certificates, self.requirements)
        title = f"Robustness of {task.model.rsplit('/', 1)[-1]} on {task.data}"
        version = task.versions.get("calipers", "")
        return View(numbers.run_id, title, "Robustness report", version, sections(shown), self.to_json())

    def html(self) -> str:
        """The page; the same report always gives the same text."""
        return self.view.html()

    def save(self, path: Path | str) -> Path:
        """Write the page to `path`, whole or not at all, and return the path. Missing folders are made.

        Raises StoreError where the file cannot be written.
        """
        return self.view.save(path)

    def to_json(self) -> dict[str, Any]:
        """All numbers: the project's machine-readable rows, every class, every sample's bracket, the specification."""
        required = {"requirements": [requirement_json(one) for one in self.requirements]} if self.requirements else {}
        return {**all_numbers(self.numbers), **required}

    def _repr_html_(self) -> str:
        # An isolated frame: the page's styles must not reach the notebook, nor the notebook's the page.
        return (
            '<iframe title="Robustness report" sandbox="allow-scripts" loading="lazy" '
            'style="width:100%;height:760px;border:1px solid #8884;border-radius:6px" '
            f'srcdoc="{html.escape(self.html())}"></iframe>'
        )

    def __str__(self) -> str:
        lines = [verdict(self.numbers, self.words), allowed(self.numbers.task, self.words)]
        required = requirement_lines(self.requirements, self.numbers.task.unit)
        return "\n".join([*lines, *required, *warning_lines(self.numbers.warnings)])

    def __repr__(self) -> str:
        return f"<Report of run {self.numbers.run_id}: {verdict(self.numbers, self.words)}>"
