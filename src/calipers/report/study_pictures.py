"""Pictures below the lines of studies: examples of an attack, and maps of what it shifts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import SubFigure

from calipers.evaluate.reproduce import StudyGroup
from calipers.evaluate.reproduce.study import part_name
from calipers.evaluate.reproduce.study_figure import Beside
from calipers.report.examples import draw_picture, head_row
from calipers.report.palette import ATTACK, INK, PAPER, PROOF
from calipers.store.store import Store

_SIDE = 0.95  # inches
_PICTURE, _CLASS, _MAP = "picture ", "class ", "map "
# Downwards in the colour of proofs, upwards in that of attacks; nothing is paper.
_DIVERGING = LinearSegmentedColormap.from_list("shift", [PROOF.light, PAPER.light, ATTACK.light])
# Of the absolute values, what has the full colour.
_FULL = 99.0


@dataclass(frozen=True, eq=False)
class Examples:
    """Images by network and part. parts: the arrays of each, by the part's name."""

    title: str
    parts: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def _rows(self) -> list[tuple[str, int]]:
        first = next(iter(self.parts.values()))
        names = [name.removeprefix(_PICTURE) for name in first if name.startswith(_PICTURE)]
        return [(name, image) for image in range(len(first["label"])) for name in names]

    @property
    def width(self) -> float:
        """In inches, as is `height`."""
        return 1.2 + _SIDE * (1 + len(self.parts))

    @property
    def height(self) -> float:
        return 0.5 + (_SIDE + 0.15) * len(self._rows)

    def draw(self, part: SubFigure) -> None:
        """A row for each image and network; the first column is the image as it is."""
        grid = part.subplots(len(self._rows), 1 + len(self.parts), squeeze=False)
        first = next(iter(self.parts.values()))
        for axes_row, (name, image) in zip(grid, self._rows, strict=True):
            label = int(first["label"][image])
            draw_picture(axes_row[0], first["original"][image])
            axes_row[0].set_xlabel(f"{label}", fontsize=8, labelpad=2, color=INK.light)
            head_row(axes_row[0], name, "")
            for axes, arrays in zip(axes_row[1:], self.parts.values(), strict=True):
                said = int(arrays[_CLASS + name][image])
                draw_picture(axes, arrays[_PICTURE + name][image])
                axes.set_xlabel(f"{said}", fontsize=8, labelpad=2, color=INK.light if said == label else ATTACK.light)
        for axes, heading in zip(grid[0], ("original", *self.parts), strict=True):
            axes.set_title(heading.replace(" at ", "\nat "), fontsize=8)


@dataclass(frozen=True, eq=False)
class Maps:
    """Rows of classes, columns of features, all maps in the order of the first one's means."""

    title: str
    maps: Mapping[str, np.ndarray]

    @property
    def width(self) -> float:
        """In inches, as is `height`."""
        return 8.4

    @property
    def height(self) -> float:
        return 0.7 + 2.2 * len(self.maps)

    def draw(self, part: SubFigure) -> None:
        """One above the other, with one scale of colours."""
        moved = np.any(np.concatenate(list(self.maps.values())), axis=0)
        order = next(iter(self.maps.values())).mean(0).argsort()
        order = order[moved[order]]
        full = float(np.percentile(np.abs(np.stack(list(self.maps.values()))), _FULL)) or 1.0
        grid = part.subplots(len(self.maps), 1, squeeze=False, sharex=True)[:, 0]
        for axes, (name, values) in zip(grid, self.maps.items(), strict=True):
            shown = axes.imshow(
                values[:, order], cmap=_DIVERGING, vmin=-full, vmax=full, aspect="auto", interpolation="nearest"
            )
            axes.set_yticks(range(len(values)))
            axes.tick_params(labelsize=8)
            axes.set_ylabel("class")
            axes.set_title(name, fontsize=10, loc="left")
        grid[-1].set_xlabel(
            f"the {len(order)} of {len(moved)} features that move, by their mean shift in the first map"
        )
        bar = part.colorbar(shown, ax=list(grid), shrink=0.8)
        bar.set_label("mean shift, in standard deviations of the feature", fontsize=9)


def pictures_of(store: Store, groups: Sequence[StudyGroup], asked: Beside | None) -> list[Examples | Maps]:
    """Of the first seed of every label."""
    found: list[Examples | Maps] = []
    for finding in (group.findings[0] for group in groups):
        title = finding.study.label
        if asked is Beside.EXAMPLES:
            parts = {
                name: store.arrays(finding.run_id, part_name(number)) for number, name in enumerate(finding.study.parts)
            }
            found.append(Examples(title, parts))
        elif asked is Beside.MAPS:
            arrays = store.arrays(finding.run_id, part_name(0))
            maps = {name.removeprefix(_MAP): value for name, value in arrays.items() if name.startswith(_MAP)}
            found.append(Maps(title, maps))
    return found


def draw_pictures(part: SubFigure, picture: Examples | Maps) -> None:
    """Draw them below their title."""
    part.suptitle(picture.title, x=0.01, ha="left", fontsize=11)
    picture.draw(part)
