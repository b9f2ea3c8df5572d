"""Folders of Parquet files in the layout of the Hugging Face Hub."""

import tempfile
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet

from calipers.core.errors import DataError
from calipers.data.decode import decode
from calipers.data.images import ImageDataset, check_limit
from calipers.data.quiet import quiet

LAYOUT = "SPLIT-*.parquet (for example train-00000-of-00001.parquet, test-00000-of-00001.parquet)"


def load_folder(folder: Path, split: str, limit: int | None, name: str, at_most: int | None = None) -> ImageDataset:
    """One split of a folder; the first `limit` rows (None: all, or `at_most`), and no more than those are decoded.

    The folder is only read. Raises DataError where the folder or the split is missing or a file is damaged, InputError
    for a limit that the split does not have.
    """
    if not folder.is_dir():
        raise DataError(f"data {name}: no folder {folder}; accepted: a folder with {LAYOUT}")
    files = sorted(str(path) for path in folder.glob(f"{split}-*.parquet"))
    if not files:
        splits = sorted({path.name.partition("-")[0] for path in folder.glob("*-*.parquet")})
        there = f"splits there: {', '.join(splits)}" if splits else f"accepted: {LAYOUT}"
        raise DataError(f"data {name}: no split {split!r} in {folder}; {there}")
    if limit is not None and limit < 1:
        check_limit(name, limit, _rows(files))
    # Streaming reads the files where they are; the cache folder only takes a lock file, and home may be read-only.
    with quiet(), tempfile.TemporaryDirectory() as cache:
        try:
            rows = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, cache_dir=cache)
            first = at_most if limit is None else limit
            data = decode(name, rows if first is None else rows.take(first))
        except (pyarrow.ArrowException, datasets.exceptions.DatasetsError, OSError) as error:
            raise DataError(f"data {name}: {split}-*.parquet in {folder} cannot be read ({error})") from error
    if limit is not None:
        check_limit(name, limit, len(data) if len(data) == limit else _rows(files))
    return data


def _rows(files: list[str]) -> int:
    return sum(pyarrow.parquet.ParquetFile(file).metadata.num_rows for file in files)
