"""Seeds derived from names, so that a result depends on what is computed and not on when."""

import hashlib

import torch


def derive_seed(root: int, *names: object) -> int:
    """A 63-bit seed that depends on `root` and every name, e.g. `derive_seed(0, "pgd", sample_id)`."""
    text = "\x1f".join([str(root), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int) -> torch.Generator:
    """A CPU generator started at `seed`; draw on the CPU and move, so every device sees the same numbers."""
    return torch.Generator().manual_seed(seed)
