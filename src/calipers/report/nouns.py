"""What samples and their values are called: images with pixels, or anything else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Nouns:
    """Words for one kind of data. count: values in one sample, where that is known."""

    sample: str
    samples: str
    value: str
    values: str
    count: int | None = None

    @property
    def pictures(self) -> bool:
        """Whether a sample can be looked at."""
        return self.samples == "images"

    def unit(self, name: str) -> str:
        """The unit of epsilon: "pixel" is called raw where there are none."""
        return "raw" if name == "pixel" and self.count is not None and not self.pictures else name

    def many(self, n: int) -> str:
        """The word for n samples."""
        return self.sample if n == 1 else self.samples


ANYTHING = Nouns("sample", "samples", "value", "values")


def nouns(shape: tuple[int, ...] | None) -> Nouns:
    """The words for samples of a shape; None where it is not known.

    Images are (channels, height, width), and square matrices; (channels, length) may be any signal.
    """
    if shape is None:
        return ANYTHING
    count = 1
    for size in shape:
        count *= size
    matrix = len(shape) == 2 and shape[0] == shape[1]
    if not (matrix or len(shape) == 3) or min(shape[-2:]) < 2:
        return Nouns("sample", "samples", "value", "values", count)
    if matrix or shape[0] == 1:
        return Nouns("image", "images", "pixel", "pixels", count)
    if shape[0] == 3:
        return Nouns("image", "images", "colour value", "colour values", count)
    return Nouns("image", "images", "value", "values", count)
