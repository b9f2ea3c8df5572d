"""The page's colours: one warm accent for attacks, one cool accent for proofs, neutrals for what is open.

Orange and blue stay apart under every common colour-vision deficiency, and hatching marks the open part without colour.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """A colour by role; `light` also serves as its key in figures."""

    role: str
    light: str
    dark: str

    @property
    def variable(self) -> str:
        """The CSS value that follows the reader's colour scheme."""
        return f"var(--{self.role})"


PAPER = Colour("paper", "#fdfcf9", "#14181c")
PANEL = Colour("panel", "#f5f3ed", "#1b2126")
INK = Colour("ink", "#1c2329", "#e8eaec")
MUTED = Colour("muted", "#5d6670", "#9da8b2")
RULE = Colour("rule", "#dedad0", "#313a42")
ATTACK = Colour("attack", "#b54a12", "#f2a06a")
ATTACK_SOFT = Colour("attack-soft", "#f3cfb6", "#5c3822")
PROOF = Colour("proof", "#155e80", "#74c0e3")
PROOF_SOFT = Colour("proof-soft", "#b9d8e5", "#1e4a5f")
GAP = Colour("gap", "#a39d90", "#7d8993")
GAP_SOFT = Colour("gap-soft", "#edeae2", "#262d33")
WRONG = Colour("wrong", "#cfcbc0", "#434d56")

COLOURS = (PAPER, PANEL, INK, MUTED, RULE, ATTACK, ATTACK_SOFT, PROOF, PROOF_SOFT, GAP, GAP_SOFT, WRONG)


def style_sheet() -> str:
    """The palette as CSS variables. Dark is for screens only: paper is white."""
    light = "".join(f"--{colour.role}:{colour.light};" for colour in COLOURS)
    dark = "".join(f"--{colour.role}:{colour.dark};" for colour in COLOURS)
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}\n"
        "@media print{:root{--paper:#ffffff;}}\n"
    )
