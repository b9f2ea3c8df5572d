"""Training by recipe, with checkpoints."""

from calipers.train.objectives import OBJECTIVES
from calipers.train.recipe import Adversary, Optimizer, Recipe
from calipers.train.recipe_files import built_in_recipes, load_recipe
from calipers.train.trainer import TrainedModel, Trainer, steps_of

__all__ = [
    "OBJECTIVES",
    "Adversary",
    "Optimizer",
    "Recipe",
    "TrainedModel",
    "Trainer",
    "built_in_recipes",
    "load_recipe",
    "steps_of",
]
