"""calipers demo."""

from pathlib import Path

from calipers.cli.options import Json, Out, Seed
from calipers.cli.stopping import stoppable


def demo(out: Out = Path("calipers-runs"), seed: Seed = 0, json_: Json = None) -> None:
    """Run the main job on an embedded default: train a small CNN on scikit-learn's digits, attack and certify it.

    [bold]Example[/]

    calipers demo --out calipers-runs
    """
    from calipers.evaluate.progress import busy

    with stoppable("nothing changed", lambda: False):
        with busy("starting"):
            from calipers.cli.training import Training
            from calipers.train import load_recipe

        trained = Training(load_recipe("digits"), out / "digits.json", out).trained(resume=False)
        from calipers.api import measure
        from calipers.cli.output import finish
        from calipers.cli.said import command_line
        from calipers.core.threat import ThreatModel
        from calipers.data.loading import load_dataset

        report = measure(
            trained.model.model,
            load_dataset("digits"),
            ThreatModel("linf", 0.05),
            epsilons=[0.01, 0.02, 0.03, 0.04, 0.05],
            samples=200,
            seed=seed,
            out=out,
            command=command_line(),
        )
    finish(report, out, json_)
