"""What a reproduction has before it, known before it starts."""

from dataclasses import dataclass

from calipers.evaluate.reproduce.experiment import Budget, Experiment, Reproduction
from calipers.evaluate.reproduce.network import Published, Trained
from calipers.evaluate.reproduce.relative_experiment import RelativeExperiment
from calipers.evaluate.reproduce.study import Study
from calipers.train import Recipe


@dataclass(frozen=True)
class Expected:
    """networks: to train; with images: the training images of all their epochs, None where a recipe takes a whole set.

    measured: samples over all experiments, methods and radii. searching: seconds that searches take at most, in all.
    minutes: that it took on two cores when it was measured; None where it was not.
    """

    networks: int
    images: int | None
    measured: int
    searching: float
    minutes: int | None = None

    @classmethod
    def of(cls, reproduction: Reproduction, budget: Budget, published: bool) -> "Expected":
        """published: whether experiments on published weights take place."""
        planned = [e for e in reproduction.experiments(budget) if published or not isinstance(e.network, Published)]
        measured: tuple[Experiment | RelativeExperiment, ...] = (*planned, *reproduction.relatives(budget))
        every: tuple[Experiment | RelativeExperiment | Study, ...] = (*measured, *reproduction.studies(budget))
        networks = [e.network for e in every if isinstance(e.network, Trained)]
        recipes = {(network.recipe.digest, network.repeat): network.recipe for network in networks}
        images = [_images(recipe) for recipe in recipes.values()]
        searching = sum(
            (
                e.samples * len(e.epsilons) * float(verifier.parameters.get("timeout", 0))
                for e in planned
                for verifier in e.verifiers
            ),
            0.0,
        )
        known = [count for count in images if count is not None]
        total = sum(known) if len(known) == len(images) else None
        return cls(len(recipes), total, sum(e.work for e in measured), searching, reproduction.minutes.get(budget.name))

    def __str__(self) -> str:
        parts = []
        if self.networks:
            images = "whole training sets" if self.images is None else f"{self.images:,} images in all epochs"
            parts.append(f"{self.networks} network{'s' * (self.networks > 1)} to train ({images})")
        if self.measured:
            parts.append(f"{self.measured:,} samples to measure, over all methods and radii")
        if self.searching:
            parts.append(f"searches end after {self.searching / 60:.1f} minutes at most")
        if self.minutes is not None:
            parts.append(f"about {self.minutes:g} minutes on two cores")
        return "; ".join(parts) or "nothing to train or to measure"


def _images(recipe: Recipe) -> int | None:
    return None if recipe.samples is None else recipe.samples * recipe.epochs
