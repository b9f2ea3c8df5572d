"""Training by recipe, with checkpoints."""

from calipers.train.recipe import Adversary, Optimizer, Recipe, built_in_recipes, load_recipe
from calipers.train.trainer import Trained, steps_of, train

__all__ = ["Adversary", "Optimizer", "Recipe", "Trained", "built_in_recipes", "load_recipe", "steps_of", "train"]
