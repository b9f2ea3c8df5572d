import math

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from calipers.core.errors import DataError, InputError
from calipers.data import ImageDataset, as_image_dataset


class Listed(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Streamed(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1, 2, 2), 0


def image(value=0.5, shape=(1, 2, 2)):
    return torch.full(shape, value)


@pytest.mark.parametrize("label", [1, torch.tensor(1), np.int64(1)])
def test_labels_of_every_integer_kind_are_taken(label):
    data = as_image_dataset(Listed([(image(), 0), (image(0.25), label)]))
    assert data.labels.tolist() == [0, 1]
    assert data.class_names == ("0", "1")
    torch.testing.assert_close(data[1][0], image(0.25))


def test_a_pair_of_tensors_and_a_limit():
    x, y = torch.rand(5, 3, 4, 4), torch.tensor([2, 1, 0, 2, 1])
    data = as_image_dataset(TensorDataset(x, y), 3, class_names=("a", "b", "c"))
    assert torch.equal(data.images, x[:3])
    assert torch.equal(data.labels, y[:3])
    assert data.class_names == ("a", "b", "c")


def test_an_image_data_set_stays_itself():
    data = ImageDataset("toy", torch.zeros(2, 1, 2, 2), torch.tensor([0, 0]), ("a",))
    assert as_image_dataset(data) is data
    assert len(as_image_dataset(data, 1)) == 1


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([(image(), 0), (image(shape=(1, 3, 2)), 0)], r"image 1 has shape \(1, 3, 2\) .*image 0 has \(1, 2, 2\)"),
        ([(image(), 0), (image().double(), 0)], "torch.float64, image 0 has"),
        ([(image().int(), 0)], "image 0 is torch.int32; accepted: uint8 or floating point"),
        ([(image(math.nan), 0)], "image 0 has 4 values that are NaN or infinite"),
        ([(image(), -1)], "label 0 is -1; accepted: an integer >= 0"),
        ([(image(), 1.0)], "label 0 is 1.0"),
        ([(image(), True)], "label 0 is True"),
        ([image()], "sample 0 is a Tensor; accepted: a pair"),
        ([([1, 2], 0)], "image 0 is a list"),
    ],
)
def test_a_bad_sample_is_named(items, message):
    with pytest.raises(DataError, match=message):
        as_image_dataset(Listed(items))


def test_images_outside_the_domain_are_named():
    items = Listed([(image(), 0), (image(1.5), 0)])
    with pytest.raises(DataError, match=r"image 1 has values from 1.5 to 1.5; accepted: 0 to 1"):
        as_image_dataset(items, domain=(0.0, 1.0))
    assert len(as_image_dataset(items, domain=(0.0, 1.5))) == 2


def test_bytes_are_compared_with_the_domain_as_they_are_handed_out():
    items = Listed([(torch.full((1, 2, 2), 255, dtype=torch.uint8), 0)])
    assert len(as_image_dataset(items, domain=(0.0, 1.0))) == 1


def test_an_empty_domain_is_refused():
    with pytest.raises(InputError, match="empty"):
        as_image_dataset(Listed([(image(), 0)]), domain=(1.0, 0.0))


def test_a_stream_is_refused():
    with pytest.raises(DataError, match="Streamed has no length or indexing"):
        as_image_dataset(Streamed())


def test_more_samples_than_there_are_are_refused():
    with pytest.raises(InputError, match="3 samples asked for, there are 1"):
        as_image_dataset(Listed([(image(), 0)]), 3)
