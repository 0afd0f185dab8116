"""RandAugment and TrivialAugment in batches, against torchvision's of one image."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from pytest_multiplicity.training.augment import augment_batch
from pytest_multiplicity.training.policies import BINS, OPERATIONS, RAND, TRIVIAL, Policy, operated
from pytest_multiplicity.training.seeds import Seeds

THEIRS = {"rand": (RAND, v2.RandAugment()), "trivial": (TRIVIAL, v2.TrivialAugmentWide())}


def images(count: int, channels: int = 3, height: int = 12, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, height, width, generator=generator)


@pytest.mark.parametrize("name", THEIRS)
def test_strengths_are_torchvisions(name: str) -> None:
    policy, transform = THEIRS[name]
    ours = policy.strengths(12, 16)
    assert list(OPERATIONS) == list(transform._AUGMENTATION_SPACE)
    for row, (strengths, _) in zip(ours, transform._AUGMENTATION_SPACE.values(), strict=True):
        theirs = strengths(BINS, 12, 16)
        expected = torch.zeros(BINS) if theirs is None else theirs.float()
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", THEIRS)
def test_each_operation_is_torchvisions(name: str, operation: str, channels: int) -> None:
    policy, transform = THEIRS[name]
    number = OPERATIONS.index(operation)
    signed = transform._AUGMENTATION_SPACE[operation][1]
    strengths = policy.strengths(12, 16)[number]
    strengths = torch.cat([strengths, -strengths]) if signed else strengths
    batch = images(len(strengths), channels)
    got = operated(batch, torch.full((len(batch),), number), strengths)
    same = []
    for image, strength, ours in zip(batch, strengths.tolist(), got, strict=True):
        theirs = transform._apply_image_or_video_transform(
            image,
            operation,
            strength,
            interpolation=v2.InterpolationMode.NEAREST,
            fill={Tensor: None},
        )
        same.append(((theirs - ours).abs() < 1e-5).double().mean())
    # Where a pixel lies on the border of two, or a value on that of two levels, rounding decides.
    assert min(same) > 0.9
    assert torch.stack(same).mean() > 0.995


def test_every_sample_has_a_draw_of_its_own() -> None:
    batch = images(1).expand(400, -1, -1, -1).contiguous()
    for policy, fewest in ((RAND, 100), (TRIVIAL, 150)):
        seen = policy(batch, torch.Generator().manual_seed(1))
        assert len({tuple(image.flatten().tolist()) for image in seen}) > fewest


def test_all_operations_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Counter[int] = Counter()
    signs: Counter[bool] = Counter()

    def counted(inputs: Tensor, chosen: Tensor, strengths: Tensor) -> Tensor:
        drawn.update(chosen.tolist())
        signs.update((strengths[(chosen == 5) & (strengths != 0)] > 0).tolist())
        return inputs

    monkeypatch.setattr("pytest_multiplicity.training.policies.operated", counted)
    RAND(images(7000, 1, 2, 2), torch.Generator().manual_seed(0))
    assert sum(drawn.values()) == 14000
    assert all(850 < drawn[number] < 1150 for number in range(14))
    assert 400 < signs[True] < 600
    assert 400 < signs[False] < 600


@pytest.mark.parametrize("policy", [RAND, TRIVIAL], ids=["rand", "trivial"])
def test_draws_depend_on_the_seed_epoch_and_step_alone(policy: Policy) -> None:
    batch, before = images(32), torch.get_rng_state()
    seeds = Seeds(0, 0, 5, 0)
    one = augment_batch(policy, batch, seeds, 1, 2)
    assert torch.equal(one, augment_batch(policy, batch, Seeds(9, 9, 5, 9), 1, 2))
    assert not torch.equal(one, augment_batch(policy, batch, seeds, 1, 3))
    assert not torch.equal(one, augment_batch(policy, batch, Seeds(0, 0, 6, 0), 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.equal(batch, images(32))
