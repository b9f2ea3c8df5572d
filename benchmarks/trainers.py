"""Adversarial training of other libraries, for an epoch: seconds beside ours."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

# Makes a call that trains the model for an epoch by k steps of PGD.
Epoch = Callable[[nn.Module, Tensor, Tensor, int, int], Callable[[], object]]
EPSILON = 0.1


def art(model: nn.Module, x: Tensor, y: Tensor, batch: int, steps: int) -> Callable[[], object]:
    """The Adversarial Robustness Toolbox's trainer after Madry et al., with the same random start and steps."""
    defences, estimators = import_module("art.defences.trainer"), import_module("art.estimators.classification")
    classifier = estimators.PyTorchClassifier(
        model,
        nn.CrossEntropyLoss(),
        tuple(x.shape[1:]),
        10,
        torch.optim.Adam(model.parameters(), 1e-3),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    trainer = defences.AdversarialTrainerMadryPGD(
        classifier, 1, batch, eps=EPSILON, eps_step=2.5 * EPSILON / steps, max_iter=steps, num_random_init=1
    )
    inputs, labels = x.numpy(), torch.nn.functional.one_hot(y, 10).numpy()
    return lambda: trainer.fit(inputs, labels)


PEERS: dict[str, Epoch] = {"adversarial-robustness-toolbox": art}


def installed(name: str) -> str | None:
    """The version of a library that is installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
