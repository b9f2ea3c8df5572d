"""The oracle itself: exact numbers, orders of summation, points of sets, and that wrong claims are noticed."""

from fractions import Fraction
from pathlib import Path

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from calipers.core.norms import Norm
from calipers.core.sets import Box, LpBall
from tests.soundness import cancelling
from tests.soundness.arithmetic import Exact, Single, evaluate, rows
from tests.soundness.claims import Tally, ask, inside
from tests.soundness.dyadic import Dyadic
from tests.soundness.planted import KINDS, planted, question
from tests.soundness.replays import Deployed
from tests.soundness.to_onnx import write_onnx
from tests.values import tensors

UNIT = torch.finfo(torch.float32).eps / 2


def fractions(values: Dyadic) -> list[Fraction]:
    return [Fraction(int(n), 2**values.places) for n in values.numerator.ravel()]


def rational(values: Tensor) -> list[Fraction]:
    return [Fraction(v) for v in values.flatten().tolist()]


@settings(max_examples=25, deadline=None)
@given(tensors(2, 3), tensors(2, 3))
def test_exact_numbers_are_those_of_fractions(a: Tensor, b: Tensor) -> None:
    x, y, u, v = Dyadic.of(a), Dyadic.of(b), rational(a), rational(b)
    assert fractions(x) == u
    assert fractions(x + y) == [p + q for p, q in zip(u, v, strict=True)]
    assert fractions(x - y) == [p - q for p, q in zip(u, v, strict=True)]
    assert fractions(x * y) == [p * q for p, q in zip(u, v, strict=True)]
    assert fractions(x.maximum(y)) == list(map(max, u, v))
    assert fractions(x.minimum(y)) == list(map(min, u, v))
    product = [sum(u[3 * i + k] * v[3 * j + k] for k in range(3)) for i in range(2) for j in range(2)]
    assert fractions(x @ y.transposed) == product
    assert x.not_positive().ravel().tolist() == [p <= 0 for p in u]
    assert torch.equal(x.floats(), a)


def test_exact_numbers_of_all_sizes() -> None:
    values = torch.tensor([2.0**-149, torch.finfo(torch.float32).max, -1e-30, 0.0, 16777217.0])
    assert fractions(Dyadic.of(values)) == rational(values)
    with pytest.raises(ValueError, match="finite"):
        Dyadic.of(torch.tensor([torch.inf]))


def test_rounded_functions_are_exact_far_beyond_double_precision() -> None:
    x = torch.tensor([-30.0, -0.25, 0.0, 1e-3, 7.0], dtype=torch.float64)
    exact = Dyadic.of(x)
    tanh, sigmoid = exact.apply("tanh"), exact.apply("sigmoid")
    assert torch.allclose(tanh.floats(), x.tanh(), rtol=1e-14, atol=0)
    assert torch.allclose(sigmoid.floats(), x.sigmoid(), rtol=1e-14, atol=0)
    # tanh(x) = 2 sigmoid(2 x) - 1, to all the bits that are kept.
    doubled = Dyadic(exact.numerator * 2, exact.places).apply("sigmoid")
    for one, two in zip(fractions(tanh), fractions(doubled), strict=True):
        assert abs(one - (2 * two - 1)) < Fraction(1, 2**290)
    root = Dyadic.of(torch.ones(1)).over_root(Dyadic.of(torch.tensor([3.0])))
    assert abs(fractions(root)[0] ** 2 * 3 - 1) < Fraction(1, 2**290)


def networks() -> list[tuple[str, nn.Module, Tensor]]:
    found = []
    for kind in cancelling.KINDS:
        module, shape = cancelling.network(kind, 5)
        found.append((kind, module, torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))))
    for kind in KINDS:
        made = planted(kind, 0)
        found.append((f"planted {kind}", made.module, torch.cat([made.point, made.box.center])))
    return found


NETWORKS = networks()


@pytest.mark.parametrize(("name", "module", "x"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_all_evaluations_are_of_one_network(name: str, module: nn.Module, x: Tensor, tmp_path: Path) -> None:
    """Exactly, in double precision, in single precision by torch, by onnxruntime, and in other orders."""
    network = Deployed(module, tuple(x.shape[1:]))
    exact = evaluate(module, x, Exact()).floats()
    double = network.double(x)
    # Values before they cancel may be 1e7 times as large as the outputs, in double precision to 2^-53 of their size.
    scale = 1e8 * max(1.0, float(exact.abs().max()))
    assert float((exact - double).abs().max()) <= scale * 2.0**-50
    session = onnxruntime.InferenceSession(write_onnx(module, tuple(x.shape[1:]), tmp_path / "net.onnx"))
    single = {
        "torch": module(x),
        "onnxruntime": torch.from_numpy(session.run(None, {"x": x.numpy()})[0]),
        **{f"order {seed}": evaluate(module, x, Single.drawn(seed)) for seed in range(16)},
    }
    worst = max(float((made.double() - exact).abs().max()) for made in single.values())
    for made in single.values():
        assert made.dtype == torch.float32
    # They all miss the exact value by about as much: by rounding, not by another formula.
    spread = max(float((a.double() - b.double()).abs().max()) for a in single.values() for b in single.values())
    assert worst <= 4 * spread + 64 * UNIT * float(exact.abs().max() + 1)


def test_a_sum_in_another_order_keeps_its_error_bound_and_differs() -> None:
    """|computed - exact| <= gamma_n (|W| |x| + |b|), n being the number of terms (Higham 2002, section 3.1)."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(9, 40).requires_grad_(False)
    layer.weight.data = 1e4 * torch.randn(40, 9, generator=generator)
    x = torch.randn(20, 9, generator=generator)
    exact = evaluate(layer, x, Exact()).floats()
    gamma = 10 * UNIT / (1 - 10 * UNIT)
    allowed = gamma * (x.double().abs() @ layer.weight.double().abs().T + layer.bias.double().abs())
    made = [evaluate(layer, x, Single.drawn(seed)) for seed in range(16)]
    for one in made:
        assert bool(((one.double() - exact).abs() <= allowed).all())
    assert len({one.numpy().tobytes() for one in made}) == 16


def test_rows_are_what_a_specification_makes_of_outputs() -> None:
    outputs, C, d = torch.tensor([[1e7, 1.0]]), torch.tensor([[1.0, 3.0]]), torch.tensor([-1e7])
    assert fractions(rows(Dyadic.of(outputs), C, d, Exact())) == [3]
    # In single precision 1e7 + 3 is exact, 1e8 + 3 is not.
    assert rows(outputs, C, d, Single(0)).item() == 3
    assert rows(outputs * torch.tensor([10.0, 1.0]), C, 10 * d, Single(0)).item() == 0


@pytest.mark.parametrize("norm", Norm)
def test_points_are_inside_beyond_doubt(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(3)
    center, radius = torch.rand(6, 3, generator=generator), 10 ** (-6 * torch.rand(6, generator=generator))
    radius[0] = 0.0
    scale = torch.tensor([0.5, 1.0, 1.3])
    ball = LpBall(center, radius, norm, scale, (0.0, 1.0))
    points = inside(ball, center + torch.randn(40, 6, 3, generator=generator))
    if norm is Norm.LINF:
        assert all(bool(ball.contains(x).all()) for x in points)
        return
    for x in points:
        assert bool(((x >= 0) & (x <= 1)).all())
        for k in range(6):
            steps = [
                (Fraction(a) - Fraction(c)) / Fraction(s)
                for a, c, s in zip(x[k].tolist(), center[k].tolist(), scale.tolist(), strict=True)
            ]
            r = Fraction(float(radius[k]))
            if norm is Norm.L2:
                assert sum(s * s for s in steps) <= r * r
            else:
                assert sum(map(abs, steps)) <= r


def test_least_values_of_a_network_of_one_input_are_met() -> None:
    """|2 x - 1| has its least value, 0, at 1/2; what is asked of it is at the edge of what is true."""
    line = nn.Linear(1, 2)
    line.weight.data, line.bias.data = torch.tensor([[2.0], [0.0]]), torch.tensor([-1.0, 0.0])
    net = nn.Sequential(line, cancelling.Abs()).requires_grad_(False)
    asked = ask(Deployed(net, (1,)), Box(torch.zeros(200, 1), torch.ones(200, 1)), 0)
    weight, least = asked.specification.C[..., 0], asked.nearest[0, ..., 0]
    assert float((least - 0.5)[weight > 0].abs().max()) < 0.02
    assert bool(((least == 0) | (least == 1))[weight < 0].all())
    assert 0.4 < float(asked.broken.float().mean()) < 0.9


def test_wrong_claims_are_counted_and_right_ones_are_not() -> None:
    module, shape = cancelling.network("large_biases", 1)
    asked = ask(Deployed(module, shape), cancelling.sets(shape, 1, 24), 1)
    tally = Tally()
    everything, nothing = torch.ones_like(asked.broken), torch.zeros_like(asked.broken)
    tally.judge(asked, {"all": everything, "none": nothing, "careful": ~asked.broken}, "")
    assert tally.wrong["all"] >= int(asked.broken.sum()) > 0
    assert tally.wrong["none"] == tally.claims["none"] == 0
    # What is true in double precision and in torch's order is still false in another's.
    assert tally.by["careful"]["order"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_point_breaks_its_rows_in_every_box(kind: str) -> None:
    made = planted(kind, 0)
    asked = question(made, Deployed(made.module, tuple(made.point.shape[1:])), 1)
    assert bool(asked.sets.contains(made.point.expand(len(asked.sets), -1)).all())
    assert bool(asked.broken[:, 0].all())
    tally = Tally()
    tally.judge(asked, {"all": asked.broken}, "")
    assert tally.wrong["all"] == int(asked.broken.sum())
