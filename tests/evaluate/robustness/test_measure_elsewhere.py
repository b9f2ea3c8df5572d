"""A whole measurement on another device: the records of the CPU, and the device's name."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import calipers as cal
from calipers.attacks import PGD
from calipers.core.errors import InputError
from calipers.evaluate.robustness.measure import records_of
from calipers.evaluate.robustness.prepare import Settings
from calipers.evaluate.robustness.records import SampleRecord
from calipers.evaluate.robustness.task import RobustnessTask
from calipers.store.store import Store
from tests.elsewhere import elsewhere

X, Y = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def records(folder, run_id: str) -> list[SampleRecord]:
    with Store(folder) as store:
        return [replace(record, seconds=0.0) for record in records_of(store, run_id)]


def test_a_measurement_elsewhere_has_the_records_of_the_cpu(tmp_path) -> None:
    threat = cal.ThreatModel("linf", 0.05)
    options: dict[str, Any] = {
        "attacks": PGD(steps=3, restarts=1),
        "verifiers": ("ibp", "complete"),
        "certify": True,
        "samples": 4,
    }
    here = cal.measure(net(), (X, Y), threat, out=tmp_path / "here", **options).numbers
    with elsewhere() as device:
        there = cal.measure(net(), (X, Y), threat, out=tmp_path / "there", device=str(device), **options).numbers
    assert (here.task.device, there.task.device) == ("cpu", "elsewhere")
    assert here.task.digest != there.task.digest
    # A run from before there were other devices is found by its digest, and read.
    assert "device" not in here.task.to_dict()
    assert RobustnessTask.from_dict(there.task.to_dict()) == there.task
    assert records(tmp_path / "there", there.run_id) == records(tmp_path / "here", here.run_id)
    assert any(record.outcome == "verified" for record in records(tmp_path / "there", there.run_id))


def test_nearest_examples_elsewhere_are_those_of_the_cpu(tmp_path) -> None:
    options: dict[str, Any] = {"attacks": ("fmn-l2", "ddn"), "propagations": 40}
    here = cal.attack(net(), (X, Y), "l2", out=tmp_path / "here", **options)
    with elsewhere() as device:
        there = cal.attack(net(), (X, Y), "l2", out=tmp_path / "there", device=str(device), **options)
    assert records(tmp_path / "there", there.run_id) == records(tmp_path / "here", here.run_id)


def test_a_device_that_is_not_there_is_said_before_anything_is_loaded(tmp_path) -> None:
    with pytest.raises(InputError, match="device 'cuda:99'"):
        cal.measure("no such model", (X, Y), cal.ThreatModel("linf", 0.1), out=tmp_path, device="cuda:99")
    with pytest.raises(InputError, match="device 'tpu'"):
        cal.Resources(device="tpu")


def test_single_precision_devices_have_no_proofs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("calipers.evaluate.robustness.prepare.device_of", lambda name: torch.device("mps"))
    with pytest.raises(InputError, match="device mps: has no double precision, which verifier ibp needs"):
        cal.measure(net(), (X, Y), cal.ThreatModel("linf", 0.1), out=tmp_path)
    assert Settings().device == "cpu"


def test_a_model_that_cannot_be_moved_is_measured_where_it_is_and_said(tmp_path) -> None:
    inner, plain = net(), net()
    options: dict[str, Any] = {"attacks": None, "verifiers": "ibp"}
    threat = cal.ThreatModel("linf", 0.01)
    with elsewhere() as device:
        stays = cal.measure(lambda x: inner(x), (X, Y), threat, out=tmp_path, device=str(device), **options).numbers
        moves = cal.measure(plain, (X, Y), threat, out=tmp_path, device=str(device), **options).numbers
    assert "stationary" in {warning.code for warning in stays.warnings}
    assert "stationary" not in {warning.code for warning in moves.warnings}
    assert stays.rate("certified", 0.01).measured == moves.rate("certified", 0.01).measured
