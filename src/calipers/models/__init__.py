"""Models: published architectures, loading, checks, and saved models with their cards."""

from calipers.models.card import ModelCard, read_card, save_model
from calipers.models.checks import check_labels, check_model
from calipers.models.loading import LoadedModel, load_model
from calipers.models.normalise import Normalise, input_std
from calipers.models.whitening import Whitened, Whitening
from calipers.models.zoo import ZOO, Classifier, ZooEntry

__all__ = [
    "ZOO",
    "Classifier",
    "LoadedModel",
    "ModelCard",
    "Normalise",
    "Whitened",
    "Whitening",
    "ZooEntry",
    "check_labels",
    "check_model",
    "input_std",
    "load_model",
    "read_card",
    "save_model",
]
