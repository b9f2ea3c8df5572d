"""Data sets by name from the Hugging Face Hub, through its cache."""

import datasets
import huggingface_hub
from huggingface_hub import constants

from calipers.core.errors import DataError
from calipers.data.decode import decode
from calipers.data.folder import LAYOUT
from calipers.data.images import ImageDataset, check_limit
from calipers.data.quiet import quiet

PATIENCE = 5.0  # seconds for the first answer


def load_from_hub(
    repository: str, split: str, limit: int | None, name: str, at_most: int | None = None
) -> ImageDataset:
    """One split of a data set of the Hub; the first `limit` rows (None: all, or `at_most`).

    With HF_HUB_OFFLINE=1 only the cache is asked.
    Raises DataError, within seconds, where the Hub cannot be reached; the message says both ways to get the data.
    """
    # The Hub's client would try again for half a minute before it gives up.
    if not constants.HF_HUB_OFFLINE:
        _check_reachable(repository, name)
    with quiet():
        try:
            rows = datasets.load_dataset(repository, split=split)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise _unavailable(repository, name, str(error)) from error
        if limit is not None:
            check_limit(name, limit, len(rows))
        first = min(len(rows), at_most or len(rows)) if limit is None else limit
        rows = rows.take(first)
        return decode(name, rows)


def _check_reachable(repository: str, name: str) -> None:
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception as error:  # of requests, httpx or httpx2, by the version of the Hub's client
        raise _unavailable(repository, name, f"{constants.ENDPOINT} cannot be reached: {error}") from error


def _unavailable(repository: str, name: str, reason: str) -> DataError:
    return DataError(
        f"data {name}: {repository} could not be had from the Hugging Face Hub ({reason}). Either connect to the "
        "network (or set HF_HUB_OFFLINE=1 where it is in the cache already), or give a local folder by --data-dir or "
        f"CALIPERS_DATA that holds {name}/{LAYOUT}"
    )
