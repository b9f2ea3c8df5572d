"""Finished runs to report on."""

from dataclasses import replace

import pytest

from calipers.core.space import InputSpace, RadiusUnit
from calipers.evaluate.robustness.summary import RobustnessReport

from .examples import CIFAR, WARNINGS, make_report


@pytest.fixture
def one_epsilon() -> RobustnessReport:
    return make_report()


@pytest.fixture
def five_epsilons() -> RobustnessReport:
    return replace(make_report((0.01, 0.02, 0.03, 0.05, 0.08), n=200, seed=3, strength=1.0), warnings=WARNINGS)


@pytest.fixture
def cifar() -> RobustnessReport:
    return make_report(
        (2 / 255, 8 / 255),
        n=1000,
        seed=1,
        space=InputSpace((0.0, 1.0), RadiusUnit.PIXEL, (1.0,)),
        class_names=CIFAR,
        model="cifar10_cnn",
        data="cifar10/test",
    )
