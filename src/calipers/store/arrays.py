"""Per-sample arrays as Parquet files, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from calipers.core.errors import StoreError
from calipers.core.files import whole


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays that share their first dimension; a column holds one flattened sample per row."""
    shapes = {name: (str(array.dtype), list(array.shape[1:])) for name, array in arrays.items()}
    columns = {name: _column(array) for name, array in arrays.items()}
    table = pa.table(columns).replace_schema_metadata({"calipers": json.dumps(shapes)})
    with whole(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Inverse of `write_arrays`. Raises StoreError if the file is damaged."""
    try:
        table = pq.read_table(path)
        shapes = json.loads(table.schema.metadata[b"calipers"])
        return {
            name: table[name].combine_chunks().flatten().to_numpy().astype(dtype).reshape(-1, *shape)
            for name, (dtype, shape) in shapes.items()
        }
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"arrays {path} are damaged ({error}); remove the run or restore the file") from error


def _column(array: np.ndarray) -> pa.Array:
    rows = array.reshape(len(array), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
