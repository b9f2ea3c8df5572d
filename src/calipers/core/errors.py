"""Errors a user can act on. Each message names the thing, what clashes and what would be accepted."""


class CalipersError(Exception):
    """Base of every error caused by input or environment; the CLI prints it without a traceback."""


class InputError(CalipersError, ValueError):
    """An argument, image, label or recipe is not acceptable."""


class ModelError(CalipersError):
    """A model cannot be loaded, called or trusted."""


class UnsupportedLayerError(ModelError):
    """A layer has no counterpart in the graph; the message lists the supported ones."""


class DataError(CalipersError):
    """A data set cannot be found or read."""


class StoreError(CalipersError):
    """The run store is damaged, full or of another format version."""


class SoundnessError(CalipersError):
    """Two records contradict each other: a ball proven free of adversarial examples contains one."""
