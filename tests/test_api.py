"""The three-line interface."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import calipers as cal


def test_three_lines(tmp_path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    dataset = TensorDataset(torch.rand(12, 1, 8, 8), torch.arange(12) % 3)
    report = cal.measure(net, dataset, cal.ThreatModel("linf", 0.03), out=tmp_path)
    assert report.numbers.spec.samples == 12
    assert "<iframe" in report._repr_html_()
    assert report.save(tmp_path / "report.html").stat().st_size > 10_000
    assert report.numbers.rate("certified", 0.03).n == 12


def test_public_names_are_there_and_nothing_else() -> None:
    assert all(hasattr(cal, name) for name in cal.__all__)
    assert not hasattr(cal, "nothing")
