"""The three-line interface: what it takes, and what it says about what it does not take."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import calipers as cal
from calipers.attacks import FGSM, PGD
from calipers.core.errors import CalipersError
from calipers.core.norms import Norm
from calipers.core.resources import Resources
from calipers.evaluate.robustness.methods import attacks_of

X, Y = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


def quick(model, dataset, threat, tmp_path, **options):
    """Without attacks, whose checks take longer than all the rest."""
    return plain(cal.measure)(
        model, dataset, threat, **{"attacks": None, "verifiers": "ibp", "out": tmp_path, **options}
    )


def test_three_lines(net, tmp_path) -> None:
    report = cal.measure(net, TensorDataset(X, Y), cal.ThreatModel("linf", 0.03), out=tmp_path)
    assert report.numbers.task.samples == 12
    assert "<iframe" in report._repr_html_()
    assert report.save(tmp_path / "report.html").stat().st_size > 10_000
    assert report.numbers.rate("certified", 0.03).n == 12


def test_public_names_are_there_and_nothing_else() -> None:
    assert all(hasattr(cal, name) for name in cal.__all__)
    assert not hasattr(cal, "nothing")


def test_data_sets_in_every_form_give_the_same_run(net, tmp_path) -> None:
    pairs = list(zip(X, Y.tolist(), strict=True))
    loader = DataLoader(cast("Dataset[Any]", pairs), batch_size=5)
    forms = [(X, Y), (X.numpy(), Y.numpy()), pairs, loader, iter(pairs)]
    runs = [quick(net, form, cal.ThreatModel("linf", "8/255"), tmp_path).numbers for form in forms]
    assert len({run.task.digest for run in runs}) == 1
    assert runs[0].task.epsilons == (8 / 255,)


@pytest.mark.parametrize(
    ("threat", "epsilons", "expected"),
    [([0.02, "1/100"], None, (0.01, 0.02)), (0.5, "0.5/255", (0.5 / 255,)), (0.5, 0.1, (0.1,))],
)
def test_lists_of_radii(threat, epsilons, expected, net, tmp_path) -> None:
    report = quick(net, (X, Y), cal.ThreatModel("linf", threat), tmp_path, epsilons=epsilons)
    assert report.numbers.task.epsilons == expected


@pytest.mark.parametrize(
    ("attacks", "names"),
    [
        *[
            ("pgd", ["pgd"]),
            ("fgsm, pgd", ["fgsm", "pgd"]),
            (PGD(steps=2), ["pgd"]),
            ([FGSM(), "pgd"], ["pgd", "fgsm"]),
        ],
        *[([FGSM(), "pgd"], ["pgd", "fgsm"]), ("none", []), ([], []), (None, [])],
    ],
)
def test_one_attack_or_several(attacks, names) -> None:
    assert [attack.name for attack in attacks_of(attacks, Norm.LINF, Resources(propagations=100))] == names


def test_an_attack_as_bare_text(net, tmp_path) -> None:
    report = quick(net, (X, Y), THREAT, tmp_path, attacks="fgsm", samples=2)
    assert [attack.name for attack in report.numbers.task.attacks] == ["fgsm"]


def test_model_and_data_by_name_and_under_another_name(tmp_path) -> None:
    report = quick("digits.maxpool", "digits", cal.ThreatModel("linf", 0.1), str(tmp_path), samples=3, data_name="mine")
    assert (report.numbers.task.model, report.numbers.task.data) == ("digits.maxpool", "mine")
    found = cal.attack("digits.maxpool", "digits", samples=2, propagations=4, name="net", out=str(tmp_path))
    assert (found.task.model, found.task.data) == ("net", "digits")


def test_bytes_are_measured_in_the_scale_of_the_domain(tmp_path) -> None:
    # Right iff the mean lies above 100 of 255; a division by 255 would make every image look dark.
    x = torch.tensor([50, 99, 101, 250], dtype=torch.uint8).reshape(4, 1, 1, 1).expand(4, 1, 2, 2)
    y = [0, 0, 1, 1]
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    net[1].weight.data = torch.tensor([[0.0] * 4, [0.25] * 4])
    net[1].bias.data = torch.tensor([100.0, 0.0])
    whole = quick(net, (x, y), cal.ThreatModel("linf", 0.5, domain=(0, 255)), tmp_path)
    assert whole.rate("clean").measured == 1
    assert whole.rate("certified", 0.5).measured == 1
    assert [w.message for w in whole.numbers.warnings if w.code == "conversion"] == [
        "uint8 images were taken as floats 0..255, as the domain says"
    ]
    net[1].bias.data /= 255
    parts = quick(net, (x, y), cal.ThreatModel("linf", 0.5 / 255), tmp_path)
    assert parts.rate("clean").measured == 1
    assert "converted from uint8 0..255 to float 0..1" in str(parts.numbers.warnings)


@pytest.mark.parametrize(
    ("norm", "epsilon", "domain", "said"),
    [
        *[("linf", 8, (0, 1), True), ("linf", 0.99, (0, 1), False), ("linf", 8, (0, 255), False)],
        *[("l2", 4, (0, 1), True), ("l2", 3.9, (0, 1), False), ("l1", 15, (0, 1), False), ("l1", 16, None, True)],
    ],
)
def test_radii_beyond_the_domain_are_warned_of(norm, epsilon, domain, said, net, tmp_path) -> None:
    """The diameter of [0, 1]^16 is 1 in linf, 4 in l2, 16 in l1."""
    report = quick(net, (X, Y), cal.ThreatModel(norm, epsilon, domain), tmp_path)
    found = [warning for warning in report.numbers.warnings if warning.code == "epsilon-beyond-domain"]
    assert bool(found) == said
    if said and domain is not None:
        assert f"{epsilon}/255 was meant, that is {epsilon / 255:.6g}" in found[0].message


def test_images_that_hardly_use_their_domain_are_warned_of(net, tmp_path) -> None:
    codes = [
        [w.code for w in quick(net, (X, Y), cal.ThreatModel("linf", 0.1, d), tmp_path).numbers.warnings]
        for d in ((0, 255), (0, 1))
    ]
    assert ["range" in each for each in codes] == [True, False]


THREAT = cal.ThreatModel("linf", 0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model: is a int"),
        ({"model": "digits.smal"}, "did you mean digits"),
        ({"dataset": 3}, "data custom: a int"),
        ({"dataset": "digit"}, "did you mean digits"),
        ({"dataset": X}, r"a Tensor is no data set; accepted: \(X, y\)"),
        ({"dataset": (X, Y[:3])}, r"X has shape \(12, 1, 4, 4\), y \(3,\)"),
        ({"threat": 0.03}, "threat: is a float"),
        ({"threat": "linf"}, "threat: is a str"),
        ({"epsilons": "abc"}, "epsilons: 'abc' is not a radius"),
        ({"epsilons": []}, "epsilons: none was given"),
        ({"attacks": "PDG"}, "attack 'PDG' is unknown; did you mean pdgd or pgd"),
        ({"attacks": "neares"}, "did you mean nearest"),
        ({"attacks": PGD}, r"attack: PGD is a class; accepted: an object such as PGD\(\)"),
        ({"attacks": 3}, "attack: 3 is no attack"),
        ({"attacks": [None]}, "attack: None is no attack"),
        ({"verifiers": PGD()}, "is no verifier; accepted: a name"),
        ({"attacks": None, "verifiers": None}, "neither attacks nor verifiers"),
        ({"samples": 0}, "samples: 0 is not accepted"),
        ({"samples": 2.5}, "samples: 2.5 is not accepted"),
        ({"samples": 13}, "13 samples asked for, there are 12"),
        ({"seed": "a"}, "seed: 'a'"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"memory": 0.5}, "memory: 0.5"),
        ({"timeout": "1 s"}, "timeout: '1 s'"),
        ({"propagations": True}, "propagations: True"),
    ],
)
def test_misuse_is_named_with_what_is_accepted(arguments, message, net, tmp_path) -> None:
    with pytest.raises(CalipersError, match=message):
        plain(cal.measure)(**{"model": net, "dataset": (X, Y), "threat": THREAT, "out": tmp_path, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": "l3"}, "distance: 'l3' is not accepted; accepted: linf, l2, l1, l0-pixels"),
        ({"attacks": "pgd"}, "`measure` runs it"),
        ({"attacks": "none"}, "nothing to measure"),
        ({"unit": "px"}, "accepted: pixel, normalised"),
        ({"domain": 1}, "domain: 1 is no interval"),
        ({"propagations": 2}, "propagations: 2"),
    ],
)
def test_misuse_of_attack_too(arguments, message, net, tmp_path) -> None:
    with pytest.raises(CalipersError, match=message):
        plain(cal.attack)(**{"model": net, "dataset": (X, Y), "out": tmp_path, **arguments})


def plain(function):
    """Without the check of types that runs in tests only."""
    return getattr(function, "__wrapped__", function)


def test_a_file_in_the_place_of_the_store_is_named(net, tmp_path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(CalipersError, match="is a file; accepted: a folder"):
        quick(net, (X, Y), THREAT, tmp_path / "taken")


def test_values_of_numpy_are_numbers(net, tmp_path) -> None:
    report = quick(
        net, (X, Y), cal.ThreatModel("linf", np.float64(0.1)), tmp_path, samples=np.int64(3), seed=np.int64(1)
    )
    assert report.numbers.task.samples == 3
