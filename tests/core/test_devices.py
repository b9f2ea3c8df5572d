"""Devices by name, records that are moved, and the arithmetic that proofs stand on."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from calipers.core.devices import described, device_of, moved, standard_kernels
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.sets import LpBall
from tests.elsewhere import elsewhere


def test_names() -> None:
    assert device_of("cpu") == torch.device("cpu")
    assert device_of(torch.device("cpu", 0)) == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert described(torch.device("cpu")) == "cpu"
    with elsewhere() as device:
        assert device_of(str(device)) == torch.device(device.type)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cpu:cuda", "meta"])
def test_what_is_no_device(name) -> None:
    with pytest.raises(InputError, match="accepted: cpu, cuda, cuda:N, mps or auto"):
        device_of(name)


def test_a_device_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device 'cuda:1': torch .* CUDA.*accepted here: cpu, .*auto"):
        device_of("cuda:1")
    assert device_of("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="'cuda:2': this machine has 2; accepted: cuda:0 to cuda:1"):
        device_of("cuda:2")
    assert device_of("cuda") == device_of("auto") == torch.device("cuda", 0)
    with pytest.raises(InputError, match="device 'xpu': this machine has none; accepted here"):
        device_of("xpu")


@dataclass(frozen=True)
class Pair:
    name: str
    ball: LpBall
    values: Tensor | None = None


def test_records_move_whole() -> None:
    ball = LpBall(torch.rand(2, 3), torch.ones(2), Norm.L2, torch.ones(()), (0.0, 1.0))
    with elsewhere() as device:
        far = moved(Pair("it", ball), device)
        assert far.ball.center.device == far.ball.radius.device == far.ball.scale.device == device
        assert (far.name, far.values, far.ball.norm) == ("it", None, Norm.L2)
        assert torch.equal(moved(far, "cpu").ball.center, ball.center)


def test_two_places_do_not_mix_elsewhere() -> None:
    """What the other tests with this device stand on."""
    with elsewhere() as device:
        far = torch.ones(2, device=device)
        with pytest.raises(RuntimeError, match="same device"):
            far + torch.ones(2)
        with pytest.raises(TypeError, match="cpu"):
            far.numpy()
        assert (far + torch.tensor(1.0)).tolist() == [2.0, 2.0]


def test_proofs_use_no_coarse_products() -> None:
    """Whoever asks torch for fast products gets them back after a proof."""
    x = torch.full((2, 2), 1 + 2.0**-12)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = x @ x
        with standard_kernels(x.device):
            exact = x @ x
    assert coarse.dtype is torch.bfloat16
    assert exact.dtype is torch.float32
    assert exact[0, 0] == 2 * (1 + 2.0**-11) + 2.0**-23
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with standard_kernels(x.device):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
