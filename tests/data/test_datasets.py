"""Data from map-style datasets, in memory and streamed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder, VisionDataset
from torchvision.transforms import v2

from pytest_multiplicity.data import Data, reading
from pytest_multiplicity.data import inputs as sources
from pytest_multiplicity.errors import DataError


class Images(VisionDataset):
    """Eight 5 x 4 images, and a count of how often one was read."""

    def __init__(self, transform=None, target_transform=None, transforms=None, mode="RGB"):
        super().__init__("", transforms, transform, target_transform)
        pixels = np.random.default_rng(0).integers(0, 256, (8, 5, 4, 3), dtype=np.uint8)
        self.images = [Image.fromarray(image).convert(mode) for image in pixels]
        self.targets = [0, 1, 2, 3, 0, 1, 2, 3]
        self.reads = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.reads += 1
        pair = self.images[index], self.targets[index]
        return self.transforms(*pair) if self.transforms else pair


def expected(images):
    pixels = [np.asarray(image, dtype=np.float32) / 255 for image in images.images]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("stream", [False, True, None])
def test_images_become_floats_in_0_1(stream):
    images = Images()

    data = Data.from_dataset(images, name="images", stream=stream)

    assert data.shape == (3, 5, 4)
    assert data.streamed is bool(stream)
    assert torch.allclose(data.inputs, expected(images), atol=1e-7)
    assert data.targets.tolist() == images.targets
    assert torch.equal(data.take(torch.tensor([5, 2])), data.inputs[[5, 2]])


def test_grayscale_tensor_and_array_samples():
    gray = Data.from_dataset(Images(mode="L"))
    tensors = Data.from_dataset(
        Images(transform=v2.Compose([v2.ToImage(), v2.ToDtype(torch.uint8)]))
    )
    arrays = Data.from_dataset(Images(transform=lambda image: np.asarray(image, dtype=float) / 255))

    assert gray.shape == (1, 5, 4)
    assert torch.equal(tensors.inputs, Data.from_dataset(Images()).inputs)
    assert torch.allclose(arrays.inputs.permute(0, 3, 1, 2), tensors.inputs)


def test_torchvision_and_torch_datasets(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        Images().images[0].save(tmp_path / label / "0.png")

    assert Data.from_dataset(ImageFolder(str(tmp_path))).targets.tolist() == [0, 1]
    assert len(Data.from_dataset(FakeData(6, (3, 8, 8), 2))) == 6
    assert Data.from_dataset(Subset(Images(), [3, 1])).targets.tolist() == [3, 1]
    pairs = TensorDataset(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
    assert torch.equal(Data.from_dataset(pairs).inputs, pairs.tensors[0])


@pytest.mark.parametrize("limit", [0, 8 * 3 * 5 * 4 * 4 - 1, 8 * 3 * 5 * 4 * 4])
def test_streams_what_does_not_fit_in_memory(monkeypatch, limit):
    monkeypatch.setattr(reading, "IN_MEMORY_BYTES", limit)

    assert Data.from_dataset(Images()).streamed == (limit < 8 * 3 * 5 * 4 * 4)


def test_a_stream_is_known_by_the_same_content(monkeypatch):
    in_memory = Data.from_dataset(Images(), stream=False)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 3 * 4 * 3 * 5 * 4)
    streamed = Data.from_dataset(Images(), stream=True)

    assert streamed.fingerprint == in_memory.fingerprint
    assert (streamed.split().select.inputs == in_memory.split().select.inputs).all()


def test_a_stream_reads_images_only_when_needed():
    images = Images()

    data = Data.from_dataset(images, stream=True)
    opened = images.reads
    assert data.fingerprint == data.fingerprint
    hashed = images.reads - opened
    data.take(torch.tensor([1, 2]))

    assert opened <= 1 + 2 * reading.PROBED
    assert hashed == len(images)
    assert images.reads == opened + hashed + 2


def test_a_given_fingerprint_spares_reading():
    images = Images()
    data = Data.from_dataset(images, stream=True, fingerprint="images-1")
    opened = images.reads

    assert data.fingerprint
    assert images.reads == opened


@pytest.mark.parametrize("stream", [False, True])
def test_transformed_targets_are_read_from_the_samples(stream):
    shifted = Images(target_transform=lambda target: target + 10)
    joint = Images(transforms=lambda image, target: (image, target + 10))

    for images in (shifted, joint):
        data = Data.from_dataset(images, stream=stream)
        assert data.targets.tolist() == [target + 10 for target in images.targets]


@pytest.mark.parametrize("stream", [False, True])
def test_given_targets_come_first(stream):
    data = Data.from_dataset(Images(), targets=[1] * 8, stream=stream)

    assert data.targets.tolist() == [1] * 8


def test_inputs_alone_need_targets():
    alone = TensorDataset(torch.rand(4, 2))

    assert len(Data.from_dataset(alone, targets=[0, 1, 0, 1])) == 4
    with pytest.raises(DataError, match="gives inputs alone: pass targets"):
        Data.from_dataset(alone)


def test_tensor_targets():
    pairs = [(torch.rand(2), torch.tensor(1)), (torch.rand(2), torch.tensor(0))]

    assert Data.from_dataset(pairs).targets.tolist() == [1, 0]


def random_crop(image):
    return v2.functional.pil_to_tensor(image).float() / 255 * torch.rand(1)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Images(transform=random_crop), "gives other inputs when it is read again"),
        ([(torch.rand(2), 0), (torch.rand(3), 0)], r"sample 1 .* shape \(3,\), the first has \(2,"),
        ([(torch.tensor([1, 2]), 0)], "sample 0 of 'data' is torch.int64: give 8-bit images"),
        ([("text", 0)], "sample 0 of 'data' is str"),
        ([(torch.full((1, 2, 2), 7.0), 0)], "outside their bounds"),
        ([], "no samples"),
        (iter([(torch.rand(2), 0)]), "can't be read by position"),
        (Images(mode="P"), "mode 'P'.*convert"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_unfitting_datasets(dataset, message, stream):
    torch.manual_seed(0)
    with pytest.raises(DataError, match=message):
        Data.from_dataset(dataset, stream=stream)


def test_a_stream_checks_every_block_it_reads():
    dataset = [(torch.tensor([0.5]), 0)] * 9 + [(torch.tensor([float("nan")]), 0)]

    data = Data.from_dataset(dataset, targets=[0] * 10, stream=True)

    with pytest.raises(DataError, match="nan or infinity, in 1 of 2"):
        data.take(torch.tensor([8, 9]))
