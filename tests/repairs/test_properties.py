from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from calipers.core.errors import CalipersError, InputError
from calipers.evaluate.repair.properties import PropertyFiles, repair_property_files
from calipers.graph.from_onnx import load_onnx_network
from calipers.models.export import export_onnx
from calipers.repairs.patch import Patch
from calipers.repairs.properties import PropertySettings
from calipers.verify import Limits
from calipers.verify.vnnlib import Property, SatOutcome, decide

FILES = Path(__file__).resolve().parents[3] / "shared" / "reference" / "vnnlib" / "acasxu"
QUICK = PropertySettings(samples=5000, added=40)


def _network(tmp_path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    path = tmp_path / "net.onnx"
    export_onnx(model.eval(), path, (3,))
    return path


def _property(tmp_path: Path, unsafe: str, lower: float = -0.2, upper: float = 0.3) -> Path:
    inputs = "".join(
        f"(declare-const X_{i} Real)\n(assert (>= X_{i} {lower}))\n(assert (<= X_{i} {upper}))\n" for i in range(3)
    )
    outputs = "".join(f"(declare-const Y_{i} Real)\n" for i in range(3))
    path = tmp_path / "property.vnnlib"
    path.write_text(f"{outputs}{inputs}{unsafe}\n")
    return path


def _largest_at_centre(network: Path) -> int:
    graph = load_onnx_network(network).graph
    return int(graph.evaluate(torch.full((1, 3), 0.05)).argmax())


def _is_largest(k: int) -> str:
    return "".join(f"(assert (>= Y_{k} Y_{i}))\n" for i in range(3) if i != k)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_no_input_of_the_region_is_unsafe_afterwards_as_a_grid_and_the_verifier_say(tmp_path: Path, seed: int) -> None:
    network = _network(tmp_path, seed)
    k = _largest_at_centre(network)
    asked = _property(tmp_path, _is_largest(k))
    files = PropertyFiles(network, asked, tmp_path / "patch.json")
    before = network.read_bytes()
    found = repair_property_files(files, None, (-1.0, 1.0), QUICK, Limits(timeout=600.0))
    assert found.outcome is SatOutcome.UNSAT
    assert network.read_bytes() == before
    repaired = load_onnx_network(files.repaired)
    assert decide(repaired, Property.load(asked), Limits(timeout=600.0)).outcome is SatOutcome.UNSAT
    ticks = np.linspace(-0.2, 0.3, 21)
    grid = torch.from_numpy(np.stack(np.meshgrid(ticks, ticks, ticks), -1).reshape(-1, 3)).float()
    outputs = repaired.run(grid)
    assert not bool((outputs.argmax(1) == k).any())
    assert found.agreement["largest"] > 0.5
    assert files.certificate.is_file()
    assert Patch.load(files.patch).card.certificates == ["patch.npz"]


def test_a_disjunction_of_unsafe_outputs_is_repaired_in_all_its_parts(tmp_path: Path) -> None:
    network = _network(tmp_path)
    graph = load_onnx_network(network).graph
    y = graph.evaluate(torch.rand(500, 3) * 0.5 - 0.2)
    high, low = float(y[:, 0].quantile(0.6)), float(y[:, 1].quantile(0.4))
    asked = _property(tmp_path, f"(assert (or (and (>= Y_0 {high})) (and (<= Y_1 {low}))))")
    files = PropertyFiles(network, asked, tmp_path / "patch.json")
    found = repair_property_files(files, None, None, QUICK, Limits(timeout=600.0))
    assert found.outcome is SatOutcome.UNSAT
    outputs = load_onnx_network(files.repaired).run(torch.rand(5000, 3) * 0.5 - 0.2)
    assert float(outputs[:, 0].max()) < high
    assert float(outputs[:, 1].min()) > low


def test_what_cannot_be_repaired_is_said_and_no_patch_is_written(tmp_path: Path) -> None:
    """y0 >= 1 and y0 <= 1 are both unsafe: every output is."""
    network = _network(tmp_path)
    asked = _property(tmp_path, "(assert (or (and (>= Y_0 1.0)) (and (<= Y_0 1.0))))")
    files = PropertyFiles(network, asked, tmp_path / "patch.json")
    with pytest.raises(CalipersError, match="ask for what this layer cannot give together"):
        repair_property_files(files, None, None, QUICK, Limits(timeout=600.0))
    assert not files.patch.exists()


def test_bad_input(tmp_path: Path) -> None:
    network = _network(tmp_path)
    k = _largest_at_centre(network)
    holds = _property(tmp_path, "(assert (>= Y_0 1000.0))")
    files = PropertyFiles(network, holds, tmp_path / "patch.json")
    with pytest.raises(InputError, match="the property holds already"):
        repair_property_files(files, None, None, QUICK, Limits(timeout=600.0))
    asked = _property(tmp_path, _is_largest(k))
    with pytest.raises(InputError, match="is the network itself"):
        repair_property_files(PropertyFiles(network, asked, tmp_path / "net.json"), None, None, QUICK, Limits())
    with pytest.raises(InputError, match=r"the ending is '\.txt'"):
        repair_property_files(PropertyFiles(network, asked, tmp_path / "p.txt"), None, None, QUICK, Limits())
    first = next(node.name for node in load_onnx_network(network).graph.nodes[1:])
    with pytest.raises(InputError, match="properties are repaired in the last layer"):
        repair_property_files(files, first, None, QUICK, Limits())
    with pytest.raises(InputError, match="the domain runs from 1 to 0"):
        repair_property_files(PropertyFiles(network, asked, tmp_path / "p.json"), None, (1.0, 0.0), QUICK, Limits())


@pytest.mark.full
@pytest.mark.skipif(not FILES.exists(), reason="the ACAS Xu networks are not here (../shared/reference/vnnlib)")
@pytest.mark.parametrize("network", ["1_2", "1_3", "1_4", "1_5"])
def test_acas_xu_property_2_holds_afterwards(tmp_path: Path, network: str) -> None:
    source = FILES / "onnx" / f"ACASXU_run2a_{network}_batch_2000.onnx"
    files = PropertyFiles(source, FILES / "vnnlib" / "prop_2.vnnlib", tmp_path / "patch.json")
    found = repair_property_files(files, None, None, PropertySettings(), Limits(timeout=3600.0))
    assert found.outcome is SatOutcome.UNSAT
    assert found.agreement["least"] >= 0.95
