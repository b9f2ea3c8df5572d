"""What must hold of a model before anything is measured on it; tried on a real batch."""

import torch
from torch import Tensor, nn

from calipers.core.errors import InputError, ModelError
from calipers.core.warnings import SanityWarning

PROBABILITY_SLACK = 1e-4


def check_model(
    module: nn.Module, sample_batch: Tensor, classes: int, labels: Tensor | None = None
) -> tuple[SanityWarning, ...]:
    """Try `module` on `sample_batch` (batch, *shape) and return the reasons to doubt what it will answer.

    classes: the number of classes of the data. labels: (batch,) integers, checked against it where given.
    Raises ModelError where a layer is in training mode, the module cannot be called on the batch, its output is not
    (batch, classes) floats, is not finite, or differs between two calls; InputError for a label outside the classes.
    """
    check_mode(module)
    first, second = _outputs(module, sample_batch), _outputs(module, sample_batch)
    _check_output(first, len(sample_batch), classes)
    if not torch.allclose(first, second, rtol=1e-3, atol=1e-5):
        change = float((first - second).abs().max())
        raise ModelError(f"model: two calls on the same batch differ by {change:g}; a random model cannot be measured")
    if labels is not None:
        check_labels(labels, classes)
    return _probability_warning(first)


def output_size(module: nn.Module, sample_batch: Tensor) -> int:
    """How many values `module` returns for a sample; ModelError where it cannot be called on the batch."""
    return int(_outputs(module, sample_batch).shape[-1])


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise InputError, naming the first sample, if a label is not one of 0 .. classes - 1."""
    outside = ((labels < 0) | (labels >= classes)).nonzero()
    if len(outside):
        index = int(outside[0])
        from_one = int(labels.min()) == 1 and int(labels.max()) == classes
        remedy = "these start at 1, so subtract 1" if from_one else "choose data and model that fit each other"
        raise InputError(
            f"labels: sample {index} has label {int(labels[index])}, the model has {classes} classes; "
            f"accepted: 0 to {classes - 1}; {remedy}"
        )


def check_mode(module: nn.Module) -> None:
    """Raise ModelError, naming the layer, if one that is random or looks at the batch is in training mode."""
    random = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)
    for name, layer in module.named_modules():
        if isinstance(layer, random) and layer.training:
            raise ModelError(
                f"model: layer {name or 'model'!r} ({type(layer).__name__}) is in training mode, so its answer depends "
                "on chance or on the batch; call .eval() first"
            )


def _outputs(module: nn.Module, batch: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            output = module(batch)
    except Exception as error:  # a foreign model may raise anything on a shape it does not take
        raise ModelError(
            f"model: cannot be called on a batch of shape {tuple(batch.shape)} {batch.dtype} "
            f"({type(error).__name__}: {error})"
        ) from error
    if not isinstance(output, Tensor):
        raise ModelError(f"model: returned a {type(output).__name__}; accepted: one tensor (batch, classes)")
    return output


def _check_output(output: Tensor, batch: int, classes: int) -> None:
    if tuple(output.shape) != (batch, classes):
        raise ModelError(
            f"model: output has shape {tuple(output.shape)}; accepted: {(batch, classes)}, that is (batch, classes)"
            f" for {classes} classes"
        )
    if not output.is_floating_point():
        raise ModelError(f"model: output is {output.dtype}; accepted: floating-point logits")
    broken = (~torch.isfinite(output)).any(-1).nonzero()
    if len(broken):
        raise ModelError(
            f"model: output is NaN or infinite on {len(broken)} of {batch} samples, first on sample {int(broken[0])}; "
            "accepted: finite logits"
        )


def _probability_warning(output: Tensor) -> tuple[SanityWarning, ...]:
    sums = output.double().sum(-1)
    inside = bool(((output >= 0) & (output <= 1)).all())
    if not inside or bool(((sums - 1).abs() > PROBABILITY_SLACK).any()):
        return ()
    return (
        SanityWarning(
            "probabilities",
            "the model returns probabilities, not logits: gradients vanish where it is sure, so attacks that use them "
            "look weaker than they are; remove the final softmax",
            f"all outputs lie in [0, 1], rows sum to {float(sums.min()):.6f} .. {float(sums.max()):.6f}",
        ),
    )
