import io
import sys
import time
import uuid
from unittest.mock import patch

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from PIL import Image

from calipers.core.errors import DataError, InputError
from calipers.data import hub as hub_room
from calipers.data import load_dataset


def png(pixels, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def write(folder, rows, labels, feature=None, split="test", part="00000-of-00001", image_feature=None):
    feature = feature or datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"picture": image_feature or datasets.Image(), "label": feature})
    table = datasets.Dataset.from_dict({"picture": rows, "label": labels}, features=features)
    table.to_parquet(str(folder / f"{split}-{part}.parquet"))


@pytest.fixture(autouse=True)
def _no_bars():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.parametrize(("name", "shape"), [("mnist", (1, 28, 28)), ("cifar10", (32, 32, 3))])
def test_the_first_hundred_images_are_those_of_the_published_list(data_dir, name, shape):
    rows = np.loadtxt(data_dir / "eran" / f"{name}_test.csv", delimiter=",", dtype=np.int64)
    data = load_dataset(name, limit=100, data_dir=data_dir)
    pixels = torch.from_numpy(rows[:, 1:]).reshape(100, *shape)
    expected = pixels if name == "mnist" else pixels.permute(0, 3, 1, 2)
    assert torch.equal(data.images.long(), expected)
    assert data.labels.tolist() == rows[:, 0].tolist()
    x, _ = data.batch(range(100))
    torch.testing.assert_close(x, expected.float() / 255)


def test_a_limit_is_the_head_of_the_whole_split(data_dir):
    whole = load_dataset("mnist", data_dir=data_dir)
    assert len(whole) == 10000
    part = load_dataset("mnist", limit=1500, data_dir=data_dir)
    assert part.digest == whole.head(1500).digest
    assert whole.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_names_of_classes_come_from_the_file(data_dir):
    assert load_dataset("cifar10", limit=1, data_dir=data_dir).class_names[:3] == ("airplane", "automobile", "bird")
    assert load_dataset("fashion_mnist", limit=1, data_dir=data_dir).class_names[1] == "Trouser"


def test_the_environment_names_the_folder(data_dir, monkeypatch):
    monkeypatch.setenv("CALIPERS_DATA", str(data_dir))
    assert len(load_dataset("mnist", limit=3)) == 3


def test_of_a_small_limit_no_more_is_read_and_quietly(data_dir, capfd):
    with patch.object(PIL.Image, "open", wraps=PIL.Image.open) as opened:
        load_dataset("mnist", limit=100, data_dir=data_dir)
    assert opened.call_count == 100
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_digits_are_split_at_1297():
    train, test = load_dataset("digits", "train"), load_dataset("digits")
    assert (len(train), len(test)) == (1297, 500)
    assert test.input_shape == (1, 8, 8)
    assert float(train.images.min()) == 0
    assert float(train.images.max()) == 1
    assert torch.equal(train.images * 16, (train.images * 16).round())
    assert load_dataset("digits", limit=7).digest == test.head(7).digest
    assert load_dataset("digits").digest == test.digest


def test_digits_have_no_other_split():
    with pytest.raises(DataError, match="no split 'validation'; accepted: train, test"):
        load_dataset("digits", "validation")


def test_a_folder_is_read_part_by_part_and_left_alone(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    write(tmp_path, [png(row) for row in pixels[:3]], [0, 1, 1], part="00000-of-00002")
    write(tmp_path, [png(row) for row in pixels[3:]], [1, 0], part="00001-of-00002")
    before = sorted(tmp_path.iterdir())
    data = load_dataset(str(tmp_path))
    assert torch.equal(data.images, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert data.labels.tolist() == [0, 1, 1, 1, 0]
    assert data.class_names == ("cat", "dog")
    assert load_dataset(str(tmp_path), limit=4).digest == data.head(4).digest
    assert sorted(tmp_path.iterdir()) == before


def test_integer_labels_are_taken_when_called_label(tmp_path):
    write(tmp_path, [png(np.zeros((2, 2), np.uint8))] * 2, [0, 3], datasets.Value("int64"))
    assert load_dataset(str(tmp_path)).class_names == ("0", "1", "2", "3")


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    write(tmp_path, [png(np.zeros((2, 2), np.uint8))], [0])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", "/proc/none")
    assert len(load_dataset(str(tmp_path))) == 1


def test_a_missing_split_says_which_there_are(tmp_path):
    write(tmp_path, [png(np.zeros((2, 2), np.uint8))], [0], split="train")
    with pytest.raises(DataError, match=r"no split 'test' in .*; splits there: train"):
        load_dataset(str(tmp_path))


def test_an_empty_folder_says_the_layout(tmp_path):
    with pytest.raises(DataError, match=r"accepted: SPLIT-\*.parquet"):
        load_dataset(str(tmp_path))
    with pytest.raises(DataError, match=r"no folder .*mnist; accepted: a folder with SPLIT"):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("limit", [0, 3])
def test_a_limit_beyond_the_split_is_refused(tmp_path, limit):
    write(tmp_path, [png(np.zeros((2, 2), np.uint8))] * 2, [0, 1])
    with pytest.raises(InputError, match=f"{limit} samples asked for, there are 2"):
        load_dataset(str(tmp_path), limit=limit)


def test_shapes_that_differ_are_named(tmp_path):
    write(tmp_path, [png(np.zeros((2, 2), np.uint8)), png(np.zeros((2, 3), np.uint8))], [0, 1])
    with pytest.raises(DataError, match=r"image 1 has shape \(1, 2, 3\), image 0 has \(1, 2, 2\)"):
        load_dataset(str(tmp_path))


def test_an_image_of_another_mode_is_named(tmp_path):
    write(tmp_path, [png(np.zeros((2, 2, 4), np.uint8))], [0])
    with pytest.raises(DataError, match="image 0 has mode RGBA; accepted: L or RGB"):
        load_dataset(str(tmp_path))


def test_a_damaged_image_is_named(tmp_path):
    good = png(np.zeros((2, 2), np.uint8))
    write(tmp_path, [good, {"bytes": good["bytes"][:40], "path": None}], [0, 1])
    with pytest.raises(DataError, match="image 1 is damaged"):
        load_dataset(str(tmp_path))


def test_a_missing_label_or_image_is_named(tmp_path):
    good = png(np.zeros((2, 2), np.uint8))
    write(tmp_path, [good, good], [0, None])
    write(tmp_path, [good, None], [0, 1], split="train")
    with pytest.raises(DataError, match="sample 1 has no label"):
        load_dataset(str(tmp_path))
    with pytest.raises(DataError, match="image 1 is empty"):
        load_dataset(str(tmp_path), "train")


def test_missing_columns_are_named(tmp_path):
    write(tmp_path, ["a"], [0], image_feature=datasets.Value("string"))
    with pytest.raises(DataError, match="no image column among picture, label"):
        load_dataset(str(tmp_path))
    write(tmp_path, [png(np.zeros((2, 2), np.uint8))], ["cat"], datasets.Value("string"), split="train")
    with pytest.raises(DataError, match="no label column among picture, label"):
        load_dataset(str(tmp_path), "train")


def test_a_damaged_file_is_named(tmp_path, capfd):
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DataError, match=r"test-\*.parquet in .* cannot be read"):
        load_dataset(str(tmp_path))
    assert capfd.readouterr().err == ""


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError, match="'mnits' is unknown; did you mean mnist"):
        load_dataset("mnits")


def refuse(*args, **kwargs):
    raise ConnectionError("no route")


class Unreachable:
    head = staticmethod(refuse)


def test_without_network_both_ways_are_named_without_waiting(monkeypatch):
    monkeypatch.delenv("CALIPERS_DATA", raising=False)
    monkeypatch.setattr(hub_room.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_room.huggingface_hub, "get_session", Unreachable)
    monkeypatch.setattr(time, "sleep", refuse)
    with pytest.raises(DataError, match=r"ylecun/mnist .*no route.*--data-dir or CALIPERS_DATA that holds mnist/SPLIT"):
        load_dataset("mnist")


def test_offline_mode_asks_the_cache_only(monkeypatch):
    monkeypatch.delenv("CALIPERS_DATA", raising=False)
    monkeypatch.setattr(hub_room.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub_room.huggingface_hub, "get_session", Unreachable)
    monkeypatch.setattr(hub_room.datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=r"uoft-cs/cifar10 could not be had .*no route"):
        load_dataset("cifar10")


def test_what_the_hub_answers_is_decoded(monkeypatch):
    """The Hub itself is not asked; a data set of the kind that it returns goes the same way."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    rows = datasets.Dataset.from_dict({"image": [png(row) for row in pixels], "label": [1, 0, 1]}, features=features)
    monkeypatch.delenv("CALIPERS_DATA", raising=False)
    monkeypatch.setattr(hub_room.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub_room.datasets, "load_dataset", lambda *args, **kwargs: rows)
    data = load_dataset("mnist", limit=2)
    assert torch.equal(data.images[:, 0], torch.from_numpy(pixels[:2]))
    assert data.labels.tolist() == [1, 0]
    with pytest.raises(InputError, match="4 samples asked for, there are 3"):
        load_dataset("mnist", limit=4)


@pytest.fixture
def module_here(tmp_path, monkeypatch):
    """Write a module into the working directory; its name is new each time, as modules are cached by name."""
    monkeypatch.chdir(tmp_path)
    name = f"mine_{uuid.uuid4().hex}"

    def create(text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield create
    sys.modules.pop(name, None)


SOURCE = """
import torch
from torch.utils.data import TensorDataset

def plain():
    return TensorDataset(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]))

def by_split(split):
    count = {"test": 4, "train": 8}[split]
    return TensorDataset(torch.zeros(count, 1, 2, 2), torch.zeros(count, dtype=torch.int64))

def failing():
    raise OSError("disk on fire")

number = 3
"""


def test_a_callable_of_the_working_directory_is_called(module_here):
    name = module_here(SOURCE)
    path = list(sys.path)
    assert load_dataset(f"{name}:plain", limit=3).labels.tolist() == [0, 1, 0]
    assert len(load_dataset(f"{name}:by_split", "train")) == 8
    assert len(load_dataset(f"{name}:by_split", "test")) == 4
    assert sys.path == path


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("missing", "has no attribute 'missing'"),
        ("number", "a int has no length"),
        ("failing", "OSError: disk on fire"),
    ],
)
def test_a_bad_callable_is_named(module_here, attribute, message):
    name = module_here(SOURCE)
    with pytest.raises(DataError, match=message):
        load_dataset(f"{name}:{attribute}")


def test_a_missing_module_is_named():
    with pytest.raises(DataError, match="No module named 'nowhere_to_be_found'"):
        load_dataset("nowhere_to_be_found:data")
