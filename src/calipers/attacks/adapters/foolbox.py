"""Attacks of Foolbox (Rauber et al. 2020) by their class names, e.g. foolbox:L2CarliniWagnerAttack."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from calipers.attacks.adapters.library import load, quietly, version
from calipers.attacks.adapters.watched import search_balls, search_nearest
from calipers.attacks.attack import ATTACK_LIBRARIES
from calipers.attacks.minimum_norm import MINIMUM_NORM_LIBRARIES
from calipers.attacks.nearest_query import NearestQuery
from calipers.attacks.query import Query
from calipers.core.distances import Distance
from calipers.core.errors import InputError
from calipers.core.norms import Norm
from calipers.core.registry import Registry

_DISTANCES = {0: Distance.L0_VALUES, 1: Distance.L1, 2: Distance.L2, float("inf"): Distance.LINF}
# They run all their steps again for every step of a binary search, of which there are 9 unless said otherwise.
_SEARCHES = ("L2CarliniWagnerAttack", "EADAttack")


@dataclass(frozen=True)
class FoolboxAttack:
    """A fixed-epsilon attack of Foolbox. options: of its constructor. Raises InputError if it cannot be made so."""

    attack: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _make(self.attack, "FixedEpsilonAttack", self.options)

    @property
    def name(self) -> str:
        return f"foolbox:{self.attack}"

    @property
    def parameters(self) -> dict[str, Any]:
        made = _make(self.attack, "FixedEpsilonAttack", self.options)
        return {"library": version("foolbox"), "attack": repr(made)}

    @property
    def norms(self) -> frozenset[Norm]:
        made = _make(self.attack, "FixedEpsilonAttack", self.options)
        return frozenset({Norm(_DISTANCES[made.distance.p].value)})

    def run(self, query: Query, seed: int) -> None:
        made = _make(self.attack, "FixedEpsilonAttack", self.options)

        def search(model: nn.Module, z: Tensor, label: Tensor, radius: float) -> Tensor:
            with _explained(self.name):
                return made.run(*_asked(model, z, label), epsilon=radius)

        search_balls(query, seed, self.name, search)


@dataclass(frozen=True)
class FoolboxMinimumNorm:
    """A minimum-norm attack of Foolbox, ended when the budget is spent.

    propagations: the budget, the pass at the centre included. options: of its constructor. Unless given, `steps` is
    what the budget has room for at a forward and a backward pass each, and Brendel & Bethge's attacks spend no more
    than a tenth of it on their start. Attacks for any distance are measured in the problem's. Raises InputError if it
    cannot be made so.
    """

    attack: str
    propagations: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._made()

    @property
    def name(self) -> str:
        return f"foolbox:{self.attack}"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"library": version("foolbox"), "attack": repr(self._made()), "propagations": self.propagations}

    @property
    def distances(self) -> frozenset[Distance]:
        made, base = self._made(), load("foolbox.attacks.base", "foolbox")
        if isinstance(made, base.FlexibleDistanceMinimizationAttack):
            return frozenset(Distance)
        if made.distance.p == 0:
            # What changes few values changes few pixels; it is measured in whatever was asked for.
            return frozenset({Distance.L0_VALUES, Distance.L0_PIXELS})
        return frozenset({_DISTANCES[made.distance.p]})

    def run(self, query: NearestQuery, seed: int) -> None:
        made = self._made()

        def search(model: nn.Module, z: Tensor, label: Tensor) -> Tensor | None:
            try:
                with _explained(self.name):
                    return made.run(*_asked(model, z, label))
            except ValueError as error:
                # Attacks that start from a broken input say so where their search for one failed.
                if "init_attack failed" in str(error):
                    return None
                raise

        search_nearest(query, seed, self.name, self.propagations, search)

    def _made(self) -> Any:
        known = inspect.signature(_named(self.attack, "MinimizationAttack")).parameters
        options = dict(self.options)
        if "steps" in known and "steps" not in options:
            runs = options.get("binary_search_steps", 9) if self.attack in _SEARCHES else 1
            options["steps"] = max(1, (self.propagations - 2) // (2 * runs))
        if self.attack.endswith("BrendelBethgeAttack") and "init_attack" not in options:
            start = {"steps": max(1, min(1000, self.propagations // 10))}
            options["init_attack"] = _make("LinearSearchBlendedUniformNoiseAttack", "MinimizationAttack", start)
        return _make(self.attack, "MinimizationAttack", options)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Foolbox's refusal of the question, in our words."""
    try:
        yield
    except ValueError as error:
        if str(error) != "unsupported criterion":
            raise
        raise InputError(f"attack {name!r} needs a target class; accepted: attacks that look for any class") from error


def _asked(model: nn.Module, z: Tensor, label: Tensor) -> tuple[Any, Tensor, Any]:
    foolbox = load("foolbox", "foolbox")
    return foolbox.PyTorchModel(model.eval(), (0, 1), z.device), z, foolbox.Misclassification(label)


def _named(attack: str, base: str) -> Callable[..., Any]:
    """The class of this name under a base class. Raises InputError for other names."""
    module = load("foolbox.attacks", "foolbox")
    wanted = getattr(load("foolbox.attacks.base", "foolbox"), base)
    kind = "minimum-norm" if base == "MinimizationAttack" else "fixed-epsilon"
    known: Registry[type] = Registry(f"{kind} attack of foolbox")
    for name, entry in vars(module).items():
        if inspect.isclass(entry) and issubclass(entry, wanted):
            known.add(name)(entry)
    return known[attack]


def _make(attack: str, base: str, options: Mapping[str, Any]) -> Any:
    kind = _named(attack, base)
    try:
        with quietly():
            return kind(**options)
    except (TypeError, ImportError) as error:
        raise InputError(f"attack 'foolbox:{attack}' cannot be made with {dict(options)}: {error}") from error


@ATTACK_LIBRARIES.add("foolbox")
def fixed_epsilon(attack: str) -> FoolboxAttack:
    """The fixed-epsilon attack of this class name."""
    return FoolboxAttack(attack)


@MINIMUM_NORM_LIBRARIES.add("foolbox")
def minimum_norm(attack: str) -> Callable[[int], FoolboxMinimumNorm]:
    """The minimum-norm attacks of this class name, one for every budget."""
    _named(attack, "MinimizationAttack")
    return partial(FoolboxMinimumNorm, attack)
