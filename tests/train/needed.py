"""Settings that some objectives cannot do without."""

from typing import Any

NEEDED: dict[str, dict[str, Any]] = {
    "distillation": {"teacher": "digits.small"},
    "ensemble": {"sources": ["digits.small"]},
}
