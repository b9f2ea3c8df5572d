"""Models as people write them answer as the plain network inside them does."""

import functools
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn

from calipers.core.digests import digest_module
from calipers.core.errors import ModelError
from calipers.graph.from_torch import from_module
from calipers.models.loading import as_module, call_reference, loaded
from calipers.models.presented import examples, present

NET = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval().requires_grad_(False)
ONE = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).eval().requires_grad_(False)
DOUBLE = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double().eval().requires_grad_(False)
IMAGES = torch.rand(4, 1, 3, 4, generator=torch.Generator().manual_seed(0))


@dataclass
class Output:
    loss: None
    logits: torch.Tensor


class Pair(NamedTuple):
    features: torch.Tensor
    logits: torch.Tensor


def no_grad(x):
    with torch.no_grad():
        return NET(x)


def one_by_default(x, temperature=1.0):
    return NET(x) / temperature


def in_place(x):
    x.clamp_(0.2, 0.8)
    return NET(x)


def hidden_in_place(x):
    x.numpy()[:] *= 0.5
    return NET(x)


class Owner:
    def predict(self, x):
        return NET(x)

    def __call__(self, x):
        return NET(x)


def plain(x):
    return NET(x)


def scripted(frozen: bool = False) -> nn.Module:
    """As people still have them; torch warns of both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(NET)
        return torch.jit.freeze(script.eval()) if frozen else script


# name -> model, what it has to answer, codes of warnings
MODELS = {
    "function": (plain, plain, set()),
    "lambda": (lambda x: NET(x), plain, set()),
    "partial": (functools.partial(one_by_default, temperature=2.0), lambda x: NET(x) / 2, set()),
    "method": (Owner().predict, plain, set()),
    "object": (Owner(), plain, set()),
    "no gradient": (no_grad, plain, set()),
    "detached": (lambda x: NET(x.detach()).detach(), plain, set()),
    "logits of an object": (lambda x: Output(None, NET(x)), plain, set()),
    "logits of a named tuple": (lambda x: Pair(x, NET(x)), plain, set()),
    "logits of a dict": (lambda x: {"loss": None, "hidden": x, "logits": NET(x)}, plain, set()),
    "one entry": (lambda x: {"y": NET(x)}, plain, set()),
    "tuple of one": (lambda x: (NET(x),), plain, set()),
    "first of two": (lambda x: (NET(x), x), plain, {"several-outputs"}),
    "a map of one pixel": (lambda x: NET(x)[:, :, None, None], plain, set()),
    "squeezed": (lambda x: NET(x).squeeze(), plain, set()),
    "squeezed, then over the classes": (
        lambda x: NET(x).squeeze().log_softmax(1),
        lambda x: NET(x).log_softmax(1),
        set(),
    ),
    "in place": (in_place, lambda x: NET(x.clamp(0.2, 0.8)), {"changes-input"}),
    "in place on a view": (lambda x: NET(x.view(-1).mul_(2).view(x.shape)), lambda x: NET(2 * x), {"changes-input"}),
    "in place behind torch's back": (hidden_in_place, lambda x: NET(x / 2), {"changes-input"}),
    "first layer in place": (nn.Sequential(nn.ReLU(inplace=True), NET), plain, {"changes-input"}),
    "double": (DOUBLE, lambda x: DOUBLE(x.double()).float(), {"precision"}),
    "double inside": (lambda x: NET(x).double(), plain, {"precision"}),
    "double by hand": (
        lambda x: x.flatten(1) @ torch.ones(12, 2, dtype=torch.float64),
        lambda x: x.flatten(1) @ torch.ones(12, 2),
        {"precision"},
    ),
    "one input at a time": (lambda x: NET(x.view(1, 12)), plain, {"fixed-batch"}),
    "one input, squeezed": (lambda x: NET(x.view(1, 12)).squeeze(), plain, {"fixed-batch"}),
    "eight inputs at a time": (lambda x: NET(x.view(8, 12)), plain, {"fixed-batch"}),
    "exported for three": (
        torch.export.export(NET, (torch.rand(3, 1, 3, 4),)),
        plain,
        {"fixed-batch"},
    ),
    "exported module for two": (
        torch.export.export(NET, (torch.rand(2, 1, 3, 4),)).module(),
        plain,
        {"fixed-batch"},
    ),
    "two inputs at a time": (lambda x: NET(x.view(2, 12)), plain, {"fixed-batch"}),
    "script": (scripted(), plain, set()),
    "frozen script": (scripted(frozen=True), plain, set()),
    "exported module": (torch.export.export(NET, (torch.rand(1, 1, 3, 4),)).module(), plain, {"fixed-batch"}),
    "one logit": (ONE, lambda x: ONE(x) * torch.tensor([0.0, 1.0]), {"one-output"}),
    "one logit, squeezed": (lambda x: ONE(x).squeeze(), lambda x: ONE(x) * torch.tensor([0.0, 1.0]), {"one-output"}),
    "one probability": (
        nn.Sequential(ONE, nn.Sigmoid()),
        lambda x: (ONE(x).sigmoid() - 0.5) * torch.tensor([0.0, 1.0]),
        {"one-output"},
    ),
    "data parallel": (nn.DataParallel(NET), plain, set()),
    "averaged": (torch.optim.swa_utils.AveragedModel(NET), plain, set()),
}


@pytest.mark.parametrize("name", ["one input at a time", "exported for three", "one logit", "double", "in place"])
def test_the_graph_is_of_the_model_as_it_is_presented(name: str) -> None:
    model, expected, _ = MODELS[name]
    module, _ = present(as_module(model).eval(), IMAGES)
    graph = from_module(module, examples(module, IMAGES))
    torch.testing.assert_close(graph.evaluate(IMAGES), expected(IMAGES))


@pytest.mark.parametrize("name", MODELS)
def test_models_answer_as_the_network_inside_them(name: str) -> None:
    model, expected, codes = MODELS[name]
    module, notes = present(as_module(model).eval(), IMAGES)
    assert {note.code for note in notes} == codes
    for batch in (IMAGES, IMAGES[:1], IMAGES[:2]):
        given = batch.clone()
        answer = module(given)
        assert torch.equal(given, batch)
        assert answer.dtype is torch.float32
        torch.testing.assert_close(answer, expected(batch))


def test_a_model_that_needs_nothing_stays_itself() -> None:
    module, notes = present(NET, IMAGES)
    assert module is NET
    assert notes == ()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x, r"output has shape \(2, 1, 3, 4\) for 2 inputs; accepted: \(batch, classes\)"),
        (lambda x: NET(x)[0], r"output has shape \(3,\) for 2 inputs"),
        (lambda x: NET(x).argmax(1), "output is torch.int64; accepted: floating-point logits"),
        (lambda x: "cat", "returned a str without a tensor"),
        (
            lambda x: NET(x.flatten()),
            r"cannot be called on a batch of shape \(2, 1, 3, 4\) torch.float32 \(",
        ),
    ],
)
def test_what_is_no_classifier_is_named(answer, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        present(as_module(answer).eval(), IMAGES)


def test_training_mode_is_named_before_anything_is_tried() -> None:
    with pytest.raises(ModelError, match=r"layer '0' \(BatchNorm2d\) is in training mode"):
        present(nn.Sequential(nn.BatchNorm2d(1), NET).train(), IMAGES[:1])


def test_functions_that_differ_have_other_digests() -> None:
    scale, weight = 2.0, torch.ones(12, 3)
    functions = [
        lambda x: x.flatten(1) @ weight,
        lambda x: x.flatten(1) @ weight + 1,
        lambda x: scale * x.flatten(1) @ weight,
        functools.partial(one_by_default, temperature=2.0),
        functools.partial(one_by_default, temperature=3.0),
    ]
    digests = [digest_module(as_module(function)) for function in functions]
    assert len(set(digests)) == len(functions)
    assert digests == [digest_module(as_module(function)) for function in functions]
    weight = 2 * weight
    assert digest_module(as_module(functions[0])) != digests[0]


def test_what_is_no_model_is_named() -> None:
    with pytest.raises(ModelError, match=r"is a str; accepted: a torch\.nn\.Module, a function"):
        loaded("resnet")
    with pytest.raises(ModelError, match=r"is the class Flatten; accepted: an instance, Flatten\(\.\.\.\)"):
        loaded(nn.Flatten)
    with pytest.raises(ModelError, match=r"1\.weight has no shape yet .* call the model once"):
        loaded(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))


@pytest.mark.parametrize("name", ["NET", "plain", "one_by_default", "Owner"])
def test_a_reference_may_be_the_model_itself(name: str) -> None:
    module = call_reference(f"{__name__}:{name}")
    torch.testing.assert_close(module(IMAGES), NET(IMAGES))
