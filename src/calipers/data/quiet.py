"""Keeps `datasets` and the Hub's client from writing to the terminal."""

import contextlib
import logging
from collections.abc import Iterator

import datasets


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no log lines; both are put back afterwards. What goes wrong arrives as an exception."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
