"""Models as people write them, presented as what everything else takes: float32 inputs on the CPU to logits."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calipers.core.errors import ModelError
from calipers.core.warnings import SanityWarning
from calipers.models.checks import check_mode
from calipers.models.single import against_zero, within_one

# Names under which models return logits among other values; the first that is there counts.
_LOGITS = ("logits", "out", "output", "outputs", "scores", "predictions")

# Numbers of inputs that are tried for a model that does not take two: what exports are made with.
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Presented(nn.Module):
    """A model that gets inputs as it takes them, and whose answer becomes float32 logits (batch, classes).

    dtype, device: of the inputs that it takes. copies: it changes its input in place, so it gets a copy. doubles: it
    cannot answer for a lone sample, which therefore comes twice. batch: the one number of inputs that it takes, None
    for any. read: from the values (batch, n) to logits.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        device: torch.device,
        copies: bool,
        doubles: bool,
        batch: int | None,
        read: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.model = model
        self.dtype, self.device, self.copies, self.doubles, self.read = dtype, device, copies, doubles, read
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        given = x.to(self.device, self.dtype)
        if self.copies:
            given = given.clone()
        if self.doubles and len(x) == 1:
            given = torch.cat([given, given])
        values = tensor_of(self.model(given)) if self.batch is None else self._in_batches(given, self.batch)
        values = values.to(x.device, x.dtype)
        values = values[: len(x)] if self.doubles or self.batch is not None else values
        return self.read(values.reshape(len(x), -1))

    def _in_batches(self, given: Tensor, batch: int) -> Tensor:
        """The answers for as many inputs at a time as the model takes; the last ones come again to fill a batch."""
        if len(given) == batch:
            return tensor_of(self.model(given)).reshape(batch, -1)
        filled = torch.cat([given, given[-1:].expand(-len(given) % batch, *given.shape[1:])])
        return torch.cat([tensor_of(self.model(part)).reshape(batch, -1) for part in filled.split(batch)])


@dataclass(frozen=True)
class _Manner:
    """How a model wants to be called, found out on two inputs, and what it then returns for them."""

    dtype: torch.dtype
    device: torch.device
    copies: bool
    doubles: bool
    batch: int | None
    output: Any

    @property
    def values(self) -> Tensor:
        return tensor_of(self.output)


def present(model: nn.Module, images: Tensor) -> tuple[nn.Module, tuple[SanityWarning, ...]]:
    """The model as float32 inputs to logits (batch, classes), and what a reader has to know about the difference.

    images: (samples, *shape), of which the first two are tried. A model that needs nothing is returned as it is.
    Raises ModelError where it is in training mode, cannot be called, or returns nothing that can be read as logits.
    """
    check_mode(model)
    pair = images[:2] if len(images) > 1 else torch.cat([images, images])
    manner = _manner(model, pair)
    values = manner.values
    read, notes = _reading(model, manner, images)
    plain = torch.float32, torch.device("cpu")
    as_it_is = (
        isinstance(manner.output, Tensor)
        and (manner.dtype, manner.device) == (values.dtype, values.device) == plain
        and not (manner.copies or manner.doubles or manner.batch)
        and values.dim() == 2
        and read is _logits
    )
    if as_it_is:
        return model, ()
    shown = Presented(model, manner.dtype, manner.device, manner.copies, manner.doubles, manner.batch, read)
    shown.training = model.training
    return shown, (*_notes(manner), *notes)


def examples(model: nn.Module, images: Tensor) -> Tensor:
    """Inputs to trace a model with: two, or as many as it takes; the first image again and again."""
    batch = model.batch if isinstance(model, Presented) and model.batch is not None else 2
    return images[:1].repeat(batch, *([1] * (images.dim() - 1)))


def tensor_of(output: Any) -> Tensor:
    """The logits in what a model returned: a tensor, the field or entry that is named so, or the first tensor.

    Raises ModelError if there is no tensor in it.
    """
    found = _tensors(output)
    for name in _LOGITS:
        if name in found:
            return found[name]
    if not found:
        raise ModelError(
            f"model: returned a {type(output).__name__} without a tensor; accepted: one tensor (batch, classes), or a "
            "tuple, dict or object that holds it as .logits or first"
        )
    return next(iter(found.values()))


def _tensors(output: Any) -> dict[str, Tensor]:
    if isinstance(output, Tensor):
        return {"": output}
    return {name: value for name, value in _fields(output) if isinstance(value, Tensor)}


def _fields(output: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(output, Mapping):
        yield from ((str(name), value) for name, value in output.items())
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", None) or map(str, range(len(output)))
        yield from zip(names, output, strict=True)
    elif dataclasses.is_dataclass(output):
        yield from ((field.name, getattr(output, field.name)) for field in dataclasses.fields(output))
    elif hasattr(output, "logits"):
        yield "logits", output.logits


def _manner(model: nn.Module, pair: Tensor) -> _Manner:
    """Find out how to call the model. Raises ModelError if it takes the inputs in no precision and no number."""
    first = next((t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()), pair)
    failures: list[Exception] = []
    for batch in (None, *_declared(model), *_BATCHES):
        inputs = pair if batch is None else pair[:1].expand(batch, *pair.shape[1:])
        for dtype in dict.fromkeys((first.dtype, torch.float32, torch.float64)):
            given = inputs.to(first.device, dtype, copy=True)
            version = given._version
            try:
                with torch.no_grad():
                    output = model(given)
            except Exception as error:  # a foreign model may raise anything on an input that it does not take
                failures.append(error)
                continue
            if batch is None and isinstance(
                three := _answer(model, pair[[0, 1, 0]].to(first.device, dtype)), Exception
            ):
                failures.append(three)
                continue
            copies = given._version != version or not torch.equal(given, inputs.to(first.device, dtype))
            alone = batch is not None or _takes(model, pair[:1].to(first.device, dtype, copy=True), tensor_of(output))
            return _Manner(dtype, first.device, copies, not alone, batch, output)
    raise ModelError(
        f"model: cannot be called on a batch of shape {tuple(pair.shape)} {pair.dtype} "
        f"({type(failures[0]).__name__}: {failures[0]})"
    ) from failures[0]


def _declared(model: nn.Module) -> tuple[int, ...]:
    """The number of inputs that an exported program was made for, where it is fixed."""
    nodes = model.graph.nodes if isinstance(model, torch.fx.GraphModule) else ()
    shapes = (getattr(node.meta.get("val"), "shape", ()) for node in nodes if node.op == "placeholder")
    return next(((shape[0],) for shape in shapes if shape and isinstance(shape[0], int)), ())


def _takes(model: nn.Module, inputs: Tensor, values: Tensor) -> bool:
    """Whether so many inputs get answers of the shape that two get, which is that of values."""
    found = _answer(model, inputs)
    return isinstance(found, Tensor) and tuple(found.shape) == (len(inputs), *values.shape[1:])


def _answer(model: nn.Module, inputs: Tensor) -> Tensor | Exception:
    try:
        with torch.no_grad():
            return tensor_of(model(inputs))
    except Exception as error:  # whatever it raises, two samples go through
        return error


def _logits(values: Tensor) -> Tensor:
    return values


def _one_probability(values: Tensor) -> Tensor:
    """Class 1 where the value exceeds one half: logits 0 and p - 1/2."""
    return F.pad(values - 0.5, (1, 0))


def _reading(
    model: nn.Module, manner: _Manner, images: Tensor
) -> tuple[Callable[[Tensor], Tensor], tuple[SanityWarning, ...]]:
    """How values become logits. Raises ModelError for shapes and types that are none."""
    values = manner.values
    shape, count = tuple(values.shape), manner.batch or 2
    # A lone sample may come back without its batch dimension.
    shape = (1, *shape) if count == 1 and len(shape) < 2 else shape
    if not shape or shape[0] != count or (len(shape) > 2 and set(shape[2:]) != {1}):
        raise ModelError(
            f"model: output has shape {tuple(values.shape)} for {count} inputs; accepted: (batch, classes), and for "
            "two classes one logit: (batch, 1) or (batch,)"
        )
    if not values.is_floating_point():
        raise ModelError(f"model: output is {values.dtype}; accepted: floating-point logits")
    if values.numel() != count:
        return _logits, ()

    def answers(x: Tensor) -> Tensor:
        return tensor_of(model(x.to(manner.device, manner.dtype, copy=True)))

    if within_one(answers, images[:1].expand(count, *images.shape[1:])):
        return _one_probability, (_single("class 1 where it exceeds 0.5", "its values lie in [0, 1] everywhere"),)
    return against_zero, (_single("class 1 where it is positive", "its values leave [0, 1]"),)


def _single(rule: str, evidence: str) -> SanityWarning:
    return SanityWarning("one-output", f"the model returns one value per sample; it is read as {rule}", evidence)


def _notes(manner: _Manner) -> Iterator[SanityWarning]:
    values = manner.values
    if manner.batch is not None:
        yield SanityWarning(
            "fixed-batch",
            f"the model takes exactly {manner.batch} inputs at a time, so it is called as often as that needs",
            "other numbers are refused",
        )
    if manner.copies:
        yield SanityWarning(
            "changes-input",
            "the model changes its input in place (a first layer with inplace=True, or an operation such as x.sub_()); "
            "it is given a copy every time",
            "tried on two samples",
        )
    if values.dtype is not torch.float32 or manner.dtype is not torch.float32:
        yield SanityWarning(
            "precision",
            f"the model computes in {_name(manner.dtype)} and answers in {_name(values.dtype)}: it is run so, its "
            "inputs and its answers are float32, and proofs speak of its weights rounded to float32",
            "inputs, answers and weights are rounded by at most 6e-8 of their size",
        )
    several = _tensors(manner.output)
    if len(several) > 1 and not several.keys() & set(_LOGITS):
        first = next(iter(several))
        yield SanityWarning(
            "several-outputs",
            f"the model returns {len(several)} tensors; the first is taken for the logits",
            f"output {first!r} of shape {tuple(values.shape)}",
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
