"""Where units of work are done: here, or in processes beside this one. Knows nothing of what they measure."""

from calipers.execute.executor import Executor, Here
from calipers.execute.processes import Processes

__all__ = ["Executor", "Here", "Processes", "executor_of"]


def executor_of(workers: int) -> Executor:
    """For one worker this process, else as many processes beside it."""
    return Here() if workers == 1 else Processes(workers)
