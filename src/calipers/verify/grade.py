"""The one place that grades verifiers' counterexamples."""

from dataclasses import replace

from torch import Tensor, nn

from calipers.core.devices import standard_kernels
from calipers.core.errors import InputError
from calipers.core.problem import Problem
from calipers.core.results import Counterexample, Verdict, VerificationResult
from calipers.graph.graph import Graph
from calipers.verify.verifier import Verifier


def run_verifier(verifier: Verifier, model: nn.Module, graph: Graph, problem: Problem) -> VerificationResult:
    """Verify, and replay every witness on the model itself; what the model does not confirm is UNKNOWN."""
    with standard_kernels(problem.specification.d.device):
        result = verifier.verify(graph, problem, model)
    verdicts, witness = list(result.verdicts), list(result.witness)
    for i, x in enumerate(result.witness):
        if x is not None and not _confirmed(model, problem[i : i + 1], x):
            verdicts[i], witness[i] = Verdict.UNKNOWN, None
    return replace(result, verdicts=tuple(verdicts), witness=tuple(witness))


def _confirmed(model: nn.Module, problem: Problem, x: Tensor) -> bool:
    try:
        Counterexample.replay(model, problem, x)
    except InputError:
        return False
    return True
