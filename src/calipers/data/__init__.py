"""Data: labelled images by name, from a folder, from the Hub, or from any torch data set."""

from calipers.data.images import ImageDataset
from calipers.data.loading import load_dataset
from calipers.data.wrap import as_image_dataset

__all__ = ["ImageDataset", "as_image_dataset", "load_dataset"]
