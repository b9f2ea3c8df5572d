import pytest
import torch

from calipers.core.errors import DataError, InputError
from calipers.data import ImageDataset


@pytest.fixture
def data():
    images = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2) * 10
    return ImageDataset("toy", images, torch.tensor([0, 1, 2, 0, 1, 2]), ("a", "b", "c"))


def test_items_are_floats_in_the_unit_interval_with_int_labels(data):
    image, label = data[5]
    assert image.dtype is torch.float32
    torch.testing.assert_close(image.flatten(), torch.tensor([200.0, 210.0, 220.0, 230.0]) / 255)
    assert (label, type(label)) == (2, int)
    assert len(data) == 6
    assert data.input_shape == (1, 2, 2)


@pytest.mark.parametrize("indices", [[4, 1], torch.tensor([4, 1]), slice(1, 3), range(6)])
def test_a_batch_holds_the_items_in_the_order_asked_for(data, indices):
    x, y = data.batch(indices)
    positions = torch.arange(6)[list(indices) if isinstance(indices, range) else indices].tolist()
    torch.testing.assert_close(x, torch.stack([data[i][0] for i in positions]))
    assert y.tolist() == [data[i][1] for i in positions]


def test_subset_and_head_keep_name_and_classes(data):
    part = data.subset([3, 0])
    assert part.labels.tolist() == [0, 0]
    assert (part.name, part.class_names) == (data.name, data.class_names)
    assert torch.equal(data.head(2).images, data.images[:2])


def test_data_ends_where_it_ends(data):
    assert len(list(data)) == 6
    with pytest.raises(IndexError, match="sample 6 of 6"):
        data[6]


@pytest.mark.parametrize("n", [0, 7, -1])
def test_head_refuses_more_than_there_is(data, n):
    with pytest.raises(InputError, match=rf"{n} samples asked for, there are 6; accepted: 1 to 6"):
        data.head(n)


def test_the_digest_tells_contents_apart(data):
    same = ImageDataset("other name", data.images.clone(), data.labels.clone(), data.class_names)
    assert data.digest == same.digest
    assert data.digest != data.subset([1, 0, 2, 3, 4, 5]).digest
    relabelled = ImageDataset("toy", data.images, data.labels.flip(0), data.class_names)
    assert data.digest != relabelled.digest


def test_float_images_are_handed_out_as_they_are():
    images = torch.tensor([[[-1.5]], [[2.0]]], dtype=torch.float64)
    data = ImageDataset("raw", images, torch.tensor([0, 0]), ("only",))
    x, _ = data.batch([0, 1])
    assert x.flatten().tolist() == [-1.5, 2.0]
    assert x.dtype is torch.float32


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(3, 1, 2, 2), torch.zeros(2, dtype=torch.int64), r"\(3, 1, 2, 2\), labels \(2,\)"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), r"images have shape \(3,\)"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.int32), torch.zeros(1, dtype=torch.int64), "images are torch.int32"),
        (torch.zeros(1, 1, 2, 2), torch.zeros(1), "labels are torch.float32"),
        (torch.zeros(2, 1, 2, 2), torch.tensor([0, 2]), "sample 1 has label 2; accepted: 0 to 1, for 2 classes"),
        (torch.zeros(2, 1, 2, 2), torch.tensor([-1, 0]), "sample 0 has label -1"),
    ],
)
def test_what_is_no_labelled_image_is_refused(images, labels, message):
    with pytest.raises(DataError, match=message):
        ImageDataset("toy", images, labels, ("a", "b"))
