import math
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from datasets import ClassLabel
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

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


@pytest.mark.parametrize("label", [1, torch.tensor(1), np.int64(1), 1.0, torch.tensor(1.0), np.bool_(True), True])
def test_labels_of_every_kind_that_means_an_integer_are_taken(label):
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
        ([(image(), 1.5)], "label 0 is 1.5"),
        ([(image(), math.nan)], "label 0 is nan"),
        ([(image(), torch.tensor([0.0, 0.5, 0.5]))], r"label 0 is an array of shape \(3,\); accepted: an integer"),
        ([(image(), torch.tensor([0.0, 1.0, 1.0]))], r"label 0 is an array of shape \(3,\)"),
        ([image()], "sample 0 is a Tensor; accepted: a pair"),
        ([([1, 2], 0)], "image 0 is a list"),
    ],
)
def test_a_bad_sample_is_named(items, message):
    with pytest.raises(DataError, match=message):
        as_image_dataset(Listed(items))


def test_images_outside_the_domain_are_named_with_both_ranges():
    items = Listed([(image(), 0), (image(1.5), 0)])
    with pytest.raises(InputError, match=r"from 0.5 to 1.5, outside the domain from 0 to 1 .*the first is 1\)"):
        as_image_dataset(items, domain=(0.0, 1.0))
    assert len(as_image_dataset(items, domain=(0.0, 1.5))) == 2


def test_an_empty_domain_is_refused():
    with pytest.raises(InputError, match="empty"):
        as_image_dataset(Listed([(image(), 0)]), domain=(1.0, 0.0))


def test_a_stream_needs_a_number_of_samples():
    with pytest.raises(DataError, match="Streamed has no length or indexing; say how many"):
        as_image_dataset(Streamed())


def test_more_samples_than_there_are_are_refused():
    with pytest.raises(InputError, match="3 samples asked for, there are 1"):
        as_image_dataset(Listed([(image(), 0)]), 3)


def test_a_stream_ends_where_it_is_told_to():
    assert len(as_image_dataset(Streamed(), 1)) == len(as_image_dataset(Streamed(), at_most=5)) == 1
    with pytest.raises(InputError, match="2 samples asked for, there are 1"):
        as_image_dataset(Streamed(), 2)


BYTES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
FIRST = torch.from_numpy(BYTES).permute(0, 3, 1, 2)
LABELS = [0, 1, 2, 0, 1, 2]
SAMPLES = list(zip(FIRST, LABELS, strict=True))


def loader(samples: list, **options) -> DataLoader:
    """A loader of a list, which PyTorch takes though its annotations do not say so."""
    return DataLoader(cast("Dataset[Any]", samples), **options)


class Featured(list):
    """As the data sets of the Hub look."""

    features: ClassVar = {"label": ClassLabel(names=["cat", "dog", "owl"])}


FORMS = {
    "pairs": SAMPLES,
    "tensors": (FIRST, torch.tensor(LABELS)),
    "tensors in a list": [FIRST, torch.tensor(LABELS)],
    "numpy, channels last": (BYTES, np.array(LABELS)),
    "numpy, channels first": (FIRST.numpy(), np.array(LABELS, dtype=np.int8)),
    "labels as a column": (BYTES, np.array(LABELS)[:, None]),
    "labels as a list": (BYTES, LABELS),
    "samples of numpy": list(zip(BYTES, np.array(LABELS), strict=True)),
    "samples of PIL": [(Image.fromarray(x), y) for x, y in zip(BYTES, LABELS, strict=True)],
    "dictionaries": Featured({"image": x, "label": y} for x, y in SAMPLES),
    "dictionaries of a processor": [{"pixel_values": x, "labels": torch.tensor(y)} for x, y in SAMPLES],
    "loader": loader(SAMPLES, batch_size=4),
    "loader of dictionaries": loader([{"img": x, "label": y} for x, y in SAMPLES], batch_size=4),
    "loader without batches": loader(SAMPLES, batch_size=None),
    "labels as floats": (BYTES, np.array(LABELS, dtype=np.float64)),
    "one-hot labels": (BYTES, np.eye(3)[LABELS]),
    "samples with one-hot labels": [(x, torch.eye(3)[y]) for x, y in SAMPLES],
    "lists of images and of labels": (list(FIRST), LABELS),
    "a list of images, an array of labels": (list(BYTES), np.array(LABELS)),
    "a list of PIL images": ([Image.fromarray(x) for x in BYTES], LABELS),
    "columns": {"image": BYTES, "label": LABELS},
    "columns of PIL": {"img": [Image.fromarray(x) for x in BYTES], "labels": np.array(LABELS)},
    "labels with one entry": [(x, torch.tensor([y])) for x, y in SAMPLES],
}


CHANNELS_LAST = {
    *("numpy, channels last", "labels as a column", "labels as a list", "samples of numpy", "labels as floats"),
    *("one-hot labels", "a list of images, an array of labels", "columns"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("samples", [None, 5])
def test_the_same_samples_in_every_form(form, samples):
    data = as_image_dataset(FORMS[form], samples)
    assert torch.equal(data.images, FIRST[:samples])
    assert data.labels.tolist() == LABELS[:samples]
    assert "images were converted from uint8 0..255 to float 0..1" in data.notes
    assert ("images were turned from (height, width, channels) to (channels, height, width)" in data.notes) == (
        form in CHANNELS_LAST
    )
    assert ("one-hot labels were read as the classes that they mark" in data.notes) == ("one-hot" in form)


def test_names_of_classes_come_from_the_hub_s_features():
    assert as_image_dataset(FORMS["dictionaries"]).class_names == ("cat", "dog", "owl")


def test_grey_images_get_a_channel_and_vectors_stay_vectors():
    assert as_image_dataset((BYTES[..., 0], LABELS)).input_shape == (1, 5, 4)
    assert as_image_dataset([(Image.fromarray(BYTES[0, ..., 0]), 0)]).input_shape == (1, 5, 4)
    assert as_image_dataset((np.ones((6, 7)), LABELS)).input_shape == (7,)


def test_a_shuffling_loader_is_told_of():
    assert "shuffles" in as_image_dataset(loader(SAMPLES, shuffle=True)).notes[0]
    assert as_image_dataset([(image(), 0)]).notes == ()


NO_DATA_SETS = [
    *[None, 3, "digits", torch.rand(3, 1, 2, 2), np.ones((3, 2)), {"X": 1}, Listed, object(), [1, 2], [None], []],
    *[[(image(), 0, 0)], [{"picture": image(), "label": 0}], [{"image": image()}], [(image(), [1, 0])]],
    *[[(image(), "cat")], [(image(), None)], [("a.png", 0)], [(torch.tensor(1.0), 0)], (image(), image())],
    *[(np.array(["a", "b"])[:, None], [0, 1]), (np.ones((3, 2)), [0, 1]), (np.ones((2, 2)), np.eye(2) / 2)],
    *[(object(), [0, 1]), ([image()], [0, 1]), {"image": BYTES}, ([image(), image()], ["cat", "dog"])],
    *[loader([image()]), [(Image.new("P", (2, 2)), 0)], [(np.array([object()]), 0)]],
]


@pytest.mark.parametrize("given", NO_DATA_SETS)
def test_what_is_no_data_set_is_refused_with_what_would_be_one(given):
    with pytest.raises(DataError, match=r"accepted|at least one"):
        as_image_dataset(given)


def test_a_data_set_that_fails_is_named_with_its_error():
    class Failing(Listed):
        def __getitem__(self, index):
            raise KeyError("gone")

    with pytest.raises(DataError, match="reading sample 0 failed with KeyError: 'gone'"):
        as_image_dataset(Failing([0]))


@pytest.mark.parametrize("samples", [0, -1, True])
def test_what_is_no_number_of_samples_is_refused(samples):
    with pytest.raises(InputError, match="accepted"):
        as_image_dataset(SAMPLES, samples)
