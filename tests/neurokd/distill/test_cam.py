"""Activation maps, on cases small enough to compute by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from neurokd.distill.cam import (
    class_activation_map,
    class_activation_maps,
    grad_cam,
    mean_over_time,
    pooled,
    spike_activation_map,
)
from neurokd.errors import ShapeMismatchError, UsageError

FEATURES = torch.tensor([[[[1.0, 2.0]], [[3.0, 1.0]]]])  # (B=1, C=2, H=1, W=2)
WEIGHT = torch.tensor([[2.0, 0.5], [1.0, -1.0]])


def test_cam_takes_the_predicted_class_and_clips_below_zero() -> None:
    # class 1: 1·1 − 1·3 = −2 → 0 and 1·2 − 1·1 = 1
    cam = class_activation_map(FEATURES, WEIGHT, torch.tensor([[0.0, 5.0]]))
    assert cam.tolist() == [[[0.0, 1.0]]]


def test_the_maps_of_all_classes_are_signed() -> None:
    # class 0: 2·1 + ½·3 = 3.5 and 2·2 + ½·1 = 4.5; class 1 as above
    assert class_activation_maps(FEATURES, WEIGHT).tolist() == [[[[3.5, 4.5]], [[-2.0, 1.0]]]]


def test_the_mean_of_a_class_map_is_its_logit_without_the_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    features, weight = (
        torch.randn(3, 5, 4, 6, generator=generator),
        torch.randn(7, 5, generator=generator),
    )
    logits = F.linear(F.adaptive_avg_pool2d(features, 1).flatten(1), weight)
    torch.testing.assert_close(class_activation_maps(features, weight).mean(dim=(2, 3)), logits)


def test_weights_that_do_not_match_the_channels_are_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="do not match the channels"):
        class_activation_maps(FEATURES, torch.ones(2, 3))
    with pytest.raises(ShapeMismatchError, match="number of classes"):
        class_activation_map(FEATURES, WEIGHT, torch.zeros(1, 3))


def test_grad_cam_by_hand() -> None:
    features = FEATURES.clone().requires_grad_()
    # z_0 = 4 F_0[0]² − 2 F_1[1]: ∂z_0/∂F_0 = (8·1, 0), mean 4; ∂z_0/∂F_1 = (0, −2), mean −1.
    # Map: 4·1 − 3 = 1 and 4·2 − 1 = 7. z_1 = −5 is lower than z_0 = 2 and plays no part.
    first = 4 * features[:, 0, 0, 0] ** 2 - 2 * features[:, 1, 0, 1]
    logits = torch.stack([first, first * 0 - 5], dim=1)
    cam = grad_cam(features, logits)
    assert cam.tolist() == [[[1.0, 7.0]]]
    assert features.grad is None and not cam.requires_grad


def test_grad_cam_is_cam_over_the_positions_before_pooling_and_a_linear_layer() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 5, 4, 6, generator=generator).requires_grad_()
    weight, bias = torch.randn(7, 5, generator=generator), torch.randn(7, generator=generator)
    logits = F.linear(features.mean(dim=(2, 3)), weight, bias)
    cam = class_activation_map(features.detach(), weight, logits.detach())
    torch.testing.assert_close(grad_cam(features, logits) * 4 * 6, cam)


def test_grad_cam_of_tokens_is_that_of_their_map() -> None:
    generator = torch.Generator().manual_seed(2)
    maps, weight = torch.rand(2, 3, 2, 2, generator=generator), torch.randn(4, 3)
    tokens = maps.flatten(2).transpose(1, 2).requires_grad_()
    cam = grad_cam(
        tokens,
        F.linear(tokens.mean(dim=1), weight),
        lambda features: features.transpose(1, 2).unflatten(2, (2, 2)),
    )
    leaf = maps.clone().requires_grad_()
    torch.testing.assert_close(cam, grad_cam(leaf, F.linear(leaf.mean(dim=(2, 3)), weight)))


@pytest.mark.parametrize("constant", [True, False])
def test_logits_of_something_else_have_no_grad_cam(constant: bool) -> None:
    features = FEATURES.clone().requires_grad_()
    logits = torch.zeros(1, 2) if constant else torch.zeros(1, 2, requires_grad=True) * 2
    with pytest.raises(UsageError, match="do not depend"):
        grad_cam(features, logits)


def test_sam_sums_over_steps_and_channels() -> None:
    spikes = torch.zeros(3, 1, 2, 1, 2)
    spikes[0, 0, 0, 0, 0] = spikes[2, 0, 1, 0, 0] = spikes[1, 0, 1, 0, 1] = 1
    assert spike_activation_map(spikes).tolist() == [[[2.0, 1.0]]]
    torch.testing.assert_close(
        mean_over_time(spikes)[0, :, 0], torch.tensor([[1 / 3, 0.0], [1 / 3, 1 / 3]])
    )


def test_spikes_in_half_precision_are_counted_in_single() -> None:
    spikes = torch.ones(8, 1, 257, 1, 1, dtype=torch.bfloat16)  # 2056 is no bfloat16
    assert spike_activation_map(spikes).item() == 2056
    assert mean_over_time(spikes).dtype == torch.float32


def test_pooling_by_whole_windows_and_by_overlapping_ones() -> None:
    maps = torch.tensor([[[1.0, 3.0], [5.0, 7.0]]])
    assert pooled(maps, (1, 2)).tolist() == [[[3.0, 5.0]]]
    # three positions to two: windows (0, 1) and (1, 2)
    assert pooled(torch.tensor([[[0.0, 3.0, 6.0]]]), (1, 2)).tolist() == [[[1.5, 4.5]]]
    assert pooled(maps, (2, 2)) is maps
