import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir():
    """The folder with mnist/, cifar10/ and eran/: CALIPERS_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("CALIPERS_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no data in {folder}; set CALIPERS_DATA to a folder with mnist/test-*.parquet")
    return folder
