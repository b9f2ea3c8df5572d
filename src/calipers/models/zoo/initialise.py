"""Initial weights other than torch's default."""

from collections.abc import Callable

from torch import Tensor, nn

from calipers.models.zoo.classifier import Classifier


def glorot_uniform(model: Classifier) -> Classifier:
    """Weights from U(-sqrt(6 / (fan_in + fan_out)), +...) (Glorot & Bengio 2010), biases 0."""
    return _initialise(model, nn.init.xavier_uniform_)


def he_normal(model: Classifier) -> Classifier:
    """Weights from N(0, 2 / fan_in) (He et al. 2015), biases 0."""
    return _initialise(model, nn.init.kaiming_normal_)


def _initialise(model: Classifier, draw: Callable[[Tensor], Tensor]) -> Classifier:
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model
