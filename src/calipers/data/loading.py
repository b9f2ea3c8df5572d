"""From a name, as given on the command line, to images in memory."""

import difflib
import inspect
import os
import pkgutil
import sys
from pathlib import Path

from calipers.core.errors import CalipersError, DataError, InputError
from calipers.data.images import ImageDataset
from calipers.data.wrap import as_image_dataset

ENVIRONMENT = "CALIPERS_DATA"

HUB = {
    "cifar10": "uoft-cs/cifar10",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "mnist": "ylecun/mnist",
}


def load_dataset(
    name: str | Path,
    split: str = "test",
    limit: int | None = None,
    data_dir: Path | str | None = None,
    *,
    at_most: int | None = None,
) -> ImageDataset:
    """The first `limit` samples of a split (None: all, or `at_most`), in the data set's own order.

    name: `digits`; `mnist`, `fashion_mnist` or `cifar10`; a folder with `SPLIT-*.parquet`; or
    `package.module:name`, which is a data set or a callable that returns one (called with `split=` if it takes that).
    data_dir: a folder with one sub-folder a data set; default the environment's CALIPERS_DATA; without both, named
    data sets come from the Hugging Face Hub.

    Raises DataError where the data cannot be found or read, InputError for an unknown name or limit.
    """
    if not isinstance(name, str | Path):
        raise InputError(f"data: {name!r} is a {type(name).__name__}; accepted: a name or a folder")
    name, data_dir = str(name), None if data_dir is None else Path(data_dir)
    # scikit-learn and `datasets` each take half a second to import; who needs neither should not wait.
    if name == "digits":
        from calipers.data.digits import load_digits

        return as_image_dataset(load_digits(split), limit, at_most=at_most)
    if name in HUB:
        return _named(name, split, limit, data_dir, at_most)
    if Path(name).is_dir():
        from calipers.data.folder import load_folder

        return load_folder(Path(name), split, limit, name, at_most)
    if ":" in name:
        return as_image_dataset(_call(name, split), limit, name=name, at_most=at_most)
    close = difflib.get_close_matches(name.lower(), ["digits", *HUB], n=2)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"data {name!r} is unknown; {hint}accepted: digits, {', '.join(HUB)}, a folder with {split}-*.parquet, or "
        "package.module:name of a data set or of a callable that returns one"
    )


def _named(name: str, split: str, limit: int | None, data_dir: Path | None, at_most: int | None) -> ImageDataset:
    root = data_dir or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if root is None:
        from calipers.data.hub import load_from_hub

        return load_from_hub(HUB[name], split, limit, name, at_most)
    from calipers.data.folder import load_folder

    return load_folder(root / name, split, limit, name, at_most)


def _call(reference: str, split: str) -> object:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        target = pkgutil.resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(
            f"data {reference}: {error}; accepted: package.module:callable, importable from here"
        ) from error
    finally:
        sys.path.remove(here)
    if not callable(target):
        return target
    try:
        return target(split=split) if "split" in inspect.signature(target).parameters else target()
    except CalipersError:
        raise
    except Exception as error:  # whatever the user's code raises, it is about this reference
        raise DataError(f"data {reference}: calling it failed with {type(error).__name__}: {error}") from error
