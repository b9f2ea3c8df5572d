"""Warnings about attacks that may be blind; they say nothing about samples that are proven."""

import pytest
import torch
from torch import nn

import calipers
from calipers.core.results import Remark
from calipers.evaluate.robustness.doubts import doubts
from calipers.evaluate.robustness.records import Outcome, Question
from tests.evaluate.robustness.test_metrics import LARGE, SMALL, record, report

TOLD = f"{Remark.ZERO_GRADIENT}; {Remark.SEARCHED_WITHOUT}"


def test_remarks_become_one_warning_with_counts() -> None:
    clean = [record(sample, Question.CLEAN, Outcome.CORRECT) for sample in range(3)]
    attacks = [
        record(sample, Question.ATTACK, Outcome.SURVIVED, epsilon, forwards=9, message=TOLD if sample else "")
        for sample in range(3)
        for epsilon in (SMALL, LARGE)
    ]
    (warning,) = report([*clean, *attacks]).warnings
    assert warning.code == "zero-gradient"
    assert warning.evidence == "2 of 3 samples; a search without gradients joined for 2"


def test_nothing_is_said_of_samples_that_are_proven_at_every_radius() -> None:
    clean = [record(sample, Question.CLEAN, Outcome.CORRECT) for sample in range(2)]
    attacks = [record(s, Question.ATTACK, Outcome.SURVIVED, LARGE, forwards=9, message=TOLD) for s in range(2)]
    proofs = [record(0, Question.VERIFY, Outcome.VERIFIED, LARGE), record(1, Question.VERIFY, Outcome.VERIFIED, SMALL)]
    (warning,) = report([*clean, *attacks, *proofs]).warnings
    assert warning.evidence == "1 of 1 samples; a search without gradients joined for 1"
    task = report(clean).task
    assert not list(doubts(task, [*clean, *attacks, *proofs[:1], record(1, Question.VERIFY, Outcome.VERIFIED, LARGE)]))


@pytest.mark.parametrize("verifiers", [["ibp"], []])
def test_a_model_that_knows_one_class_is_not_called_misleading(tmp_path, verifiers: list[str]) -> None:
    """Nothing breaks it anywhere, so attacks are right to fail, whether somebody proves it or not."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    net[1].weight.data = torch.stack([torch.full((16,), 0.001), torch.full((16,), -0.001)])
    net[1].bias.data = torch.tensor([5.0, -5.0])
    data = torch.utils.data.TensorDataset(
        torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.long)
    )
    threat = calipers.ThreatModel("linf", 0.1)
    found = calipers.measure(net, data, threat, attacks=["fgsm"], verifiers=verifiers, out=tmp_path)
    assert not {"unbounded-attack-fails", "zero-gradient"} & {one.code for one in found.numbers.warnings}
