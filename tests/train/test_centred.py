"""Centred first biases: means over the first batch, nothing dead, and only before the first step."""

import torch
from torch import Tensor, nn

from calipers.models.normalise import Normalise
from calipers.train import OBJECTIVES, Adversary
from calipers.train.objective import DataShape, Objective, Progress, State, fitted
from calipers.train.objectives.centred import centre

FIRST, LATER = Progress(0, 2, 0, 3), Progress(1, 2, 0, 3)


def images(seed: int = 0) -> Tensor:
    """Mostly background, at one end of the range."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(40, 1, 6, 6, generator=generator).sub(0.7).clamp(min=0).double()


def net() -> nn.Sequential:
    torch.manual_seed(1)
    stack = [Normalise([0.5], [0.5]), nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*stack, nn.Conv2d(5, 6, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).double()


def outputs(model: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Of the layers with a bias, in eval mode, neurons last."""
    found = []
    with torch.no_grad():
        for layer in model.eval():
            x = layer(x)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                found.append(x.movedim(1, -1).flatten(0, -2))
    return found


def test_every_neuron_is_0_on_average_and_nothing_else_changes() -> None:
    model, x = net(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    centre(model, x)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in {"1.bias", "8.bias"})
    for values in outputs(model, x):
        assert values.mean(0).abs().max() < 1e-12
        assert values.std(0).min() > 0


def test_a_fully_connected_layer_may_stand_anywhere() -> None:
    torch.manual_seed(2)
    model, x = nn.Sequential(nn.Linear(4, 3)).double(), torch.randn(7, 5, 4).double()
    centre(model, x)
    assert model(x).mean((0, 1)).abs().max() < 1e-12


def objective(centred: bool) -> Objective:
    kind = OBJECTIVES["ibp"]
    settings = kind.settings.model_validate({"centred": centred})
    inner = Adversary(epsilon=0.05, unit="pixel").inner(net())  # type: ignore[arg-type]
    return fitted(kind.make(settings, inner), DataShape((1, 6, 6), 3))


def stepped(centred: bool, progress: Progress) -> nn.Module:
    torch.manual_seed(3)
    made = objective(centred)
    state: State = made.init(net().float(), lambda parameters: torch.optim.SGD(parameters, 1e-9))
    x = images().float()
    return made.step(state, x, torch.arange(len(x)) % 3, progress)[0].model


def test_the_first_step_of_a_training_and_no_other_centres() -> None:
    first, later, plain = stepped(True, FIRST), stepped(True, LATER), stepped(False, FIRST)
    assert isinstance(first, nn.Sequential)
    assert max(float(values.mean(0).abs().max()) for values in outputs(first, images().float())) < 0.2
    for name in ("1.bias", "8.bias"):
        assert later.get_parameter(name).abs().max() < 1e-6  # drawn as 0, and left
        assert plain.get_parameter(name).abs().max() < 1e-6
        assert first.get_parameter(name).abs().max() > 1e-3
