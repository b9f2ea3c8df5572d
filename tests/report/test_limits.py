from pathlib import Path

import pytest

from calipers.evaluate.robustness.certify import Certificates
from calipers.evaluate.robustness.summary import RobustnessReport
from calipers.report.limits import PROVEN, certificate_status, limits
from calipers.report.nouns import ANYTHING, nouns

from .examples import make_report, without


@pytest.mark.parametrize(
    ("written", "verified", "said"),
    [
        (7, 7, "7 of 7 proofs are written down as certificates; none is missing."),
        (5, 7, "5 of 7 proofs are written down as certificates; 2 are missing."),
        (0, 1, "0 of 1 proof is written down as certificates; 1 is missing."),
        (0, 0, "Nothing was proven, so there is no certificate."),
    ],
)
def test_the_state_of_certificates_is_told(written: int, verified: int, said: str) -> None:
    assert certificate_status(Certificates(Path("c"), written, verified)).startswith(said)


def test_without_certificates_it_says_how_to_get_them() -> None:
    assert "No proof of this run is written down" in certificate_status(None)
    assert "--certify" in certificate_status(None)


def test_what_proven_means_names_what_is_outside() -> None:
    assert all(name in PROVEN for name in ("exact arithmetic", "float64", "float32", "Winograd", "TF32", "bf16"))


def test_limits_name_samples_norm_radius_and_what_is_open(five_epsilons: RobustnessReport) -> None:
    text = " ".join(limits(five_epsilons, nouns((3, 8, 8))))
    assert "these 200 images alone" in text
    assert "linf perturbations up to 0.08 alone" in text
    assert "An attack that finds nothing proves nothing" in text
    assert "Undecided images are not known to be robust" in text


def test_limits_speak_only_of_what_was_run() -> None:
    report = make_report((0.03,), n=20)
    assert "Undecided" not in " ".join(limits(without(report, "verify"), ANYTHING))
    assert "attack that finds nothing" not in " ".join(limits(without(report, "attack"), ANYTHING))
    assert "blur" not in " ".join(limits(report, nouns((30,))))
