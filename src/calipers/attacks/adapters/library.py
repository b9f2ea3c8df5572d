"""Other libraries: imported late, and without their global state reaching anyone else."""

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from types import ModuleType

import numpy as np
import torch

from calipers.core.errors import InputError


def load(module: str, package: str) -> ModuleType:
    """Import a module of a package that is not always installed. Raises InputError that says how to install it."""
    try:
        with quietly():
            return import_module(module)
    except ImportError as error:
        raise InputError(
            f"attacks of {package} cannot run: {error}; install them with: pip install 'calipers[peers]'"
        ) from error


def version(package: str) -> str:
    """Name and version, for the record."""
    return f"{package} {metadata.version(package)}"


@contextmanager
def quietly(message: str = "") -> Iterator[None]:
    """Meanwhile no warnings that start so: they are about a library's own ways, which our users cannot mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message)
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Meanwhile the global generators of torch, numpy and Python start at `seed`; then they are as they were."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
