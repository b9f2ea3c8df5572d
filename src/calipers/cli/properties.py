"""What calipers repair does where a property is given."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AskedProperty:
    """network, property_: files. domain: where the network stays as it was. margin: a share of the outputs' spread."""

    network: str
    property_: Path
    patch: Path
    layer: str | None
    domain: tuple[float, float] | None
    margin: float | None
    seed: int
    timeout: float
    memory: int


def repair_a_property(asked: AskedProperty, json_: str | None) -> None:
    """Repair, print what came out, and write the files."""
    from dataclasses import replace

    from calipers.bounds import WorkBudget
    from calipers.cli.output import console, write_json
    from calipers.cli.said import command_line
    from calipers.core.errors import InputError
    from calipers.core.tables import to_json
    from calipers.evaluate.progress import track
    from calipers.evaluate.repair.properties import COMPARED, PropertyFiles, repair_property_files
    from calipers.repairs.properties import PropertySettings
    from calipers.report.wording import seconds
    from calipers.verify import Limits

    if Path(asked.network).suffix != ".onnx":
        raise InputError(f"--model {asked.network}: accepted with --property: an .onnx file")
    settings = PropertySettings(seed=asked.seed)
    if asked.margin is not None:
        settings = replace(settings, margin=asked.margin)
    files = PropertyFiles(Path(asked.network), asked.property_, asked.patch)
    limits = Limits(WorkBudget(asked.memory * 2**20), asked.timeout)
    with track(settings.rounds) as tracker:
        found = repair_property_files(files, asked.layer, asked.domain, settings, limits, tracker)
    if json_ is not None:
        write_json({**to_json(command_line(), found.rows(), asked.seed), "repair": found.numbers}, json_)
    if json_ == "-":
        return
    numbers, out = found.numbers, console()
    out.print(
        f"{found.outcome} on the whole region: proven for the repaired network, with certificates for "
        f"{len(numbers['certificates'])} of {numbers['cases']} cases. {numbers['rows']} rows on the last layer, which "
        f"changes by {numbers['size']:.1%} of its size; "
        f"{numbers['rounds']} rounds, {seconds(numbers['seconds'])}."
    )
    out.print(
        f"Agreement on {COMPARED:,} random inputs of [{numbers['domain'][0][0]:g}, {numbers['domain'][1][0]:g}]: the "
        f"least output is the same on {found.agreement['least']:.2%}, the largest on {found.agreement['largest']:.2%}."
    )
    for what, path in (
        ("Repaired network", files.repaired),
        ("Patch", files.patch),
    ):
        out.print(f"{what}:\n{path}", markup=False, soft_wrap=True)
    for name in numbers["certificates"]:
        out.print(f"Certificate:\n{asked.patch.parent / name}", markup=False, soft_wrap=True)
    if len(numbers["certificates"]) < numbers["cases"]:
        out.print(
            "No evidence for the rest passed the checker within --timeout: its bounds are looser than the search's."
        )
