"""Distillation: which terms are computed, on what, and what of the teacher changes: nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurokd.config import DistillConfig
from neurokd.distill import CATKDLoss, KDLoss, NLDLoss, SAMDLoss
from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.models import build_model
from neurokd.neurons import LIF, Accumulator, PerStep
from neurokd.training.distillation import Distillation
from neurokd.training.features import StageFeatures
from neurokd.training.logits import student_logits

STEPS, BATCH = 3, 4
GEOMETRY: dict[str, Any] = {"kernels": (3, 3), "strides": (1, 2)}
TARGETS = torch.tensor([0, 3, 1, 9])


def student() -> nn.Module:
    torch.manual_seed(1)
    return build_model("convnet", spiking=True, channels=(6, 8), threshold=0.3, **GEOMETRY)


def teacher() -> nn.Module:
    torch.manual_seed(2)
    network = build_model("convnet", spiking=False, channels=(5, 7), **GEOMETRY)
    for _ in range(10):
        network(torch.rand(16, 1, 8, 8))  # running statistics of its own
    return network.train()


def images() -> Tensor:
    return torch.rand(BATCH, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def distilled(
    network: nn.Module, guide: nn.Module, batch: Tensor | None = None, **options: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    off = {"samd": 0, "nld": 0} if "samd" not in options and "nld" not in options else {}
    config = DistillConfig.model_validate(off | options)
    objective = Distillation(network, guide, STEPS, config)
    return objective(
        images() if batch is None else batch, TARGETS, torch.Generator().manual_seed(4)
    )


def watched(network: nn.Module, stage: str) -> StageFeatures:
    features = StageFeatures(network, stage)
    features.expect()
    return features


def runs(network: nn.Module) -> list[int]:
    count = [0]

    def add(*_: Any) -> None:
        count[0] += 1

    network.register_forward_hook(add)
    return count


@pytest.mark.parametrize(
    ("weights", "terms"),
    [
        ({}, ["ce", "samd", "nld"]),
        ({"samd": 0}, ["ce", "nld"]),
        ({"nld": 0}, ["ce", "samd"]),
        ({"samd": 0, "nld": 0, "kd": 1}, ["ce", "kd"]),
        ({"samd": 0, "nld": 0, "catkd": 15}, ["ce", "catkd"]),
        ({"kd": 1, "catkd": 15}, ["ce", "samd", "nld", "kd", "catkd"]),
        ({"kd": 1, "catkd": 15, "stage": 1}, ["ce", "samd", "nld", "kd", "catkd"]),
    ],
)
def test_each_network_runs_once_and_only_what_counts_is_computed(
    weights: dict[str, float], terms: list[str]
) -> None:
    network, guide = student(), teacher()
    own, foreign = runs(network), runs(guide)
    config = DistillConfig.model_validate(weights)
    objective = Distillation(network, guide, STEPS, config)
    _, found = objective(images(), TARGETS, torch.Generator().manual_seed(4))
    assert list(found) == terms and own == foreign == [1]
    assert all(term.isfinite() and term.dtype == torch.float32 for term in found.values())


def test_without_a_weight_the_teacher_does_not_run() -> None:
    network, guide = student(), teacher()
    foreign = runs(guide)
    logits, terms = distilled(network, guide, samd=0, nld=0)
    assert list(terms) == ["ce"] and foreign == [0]
    torch.testing.assert_close(logits, student_logits(network, images(), STEPS))


@pytest.mark.parametrize("options", [{}, {"mapping": "cam-cam"}, {"scaling": "zscore"}])
def test_the_terms_are_the_losses_of_the_last_stages(options: dict[str, Any]) -> None:
    network, guide = student(), teacher().eval()
    weights = {"samd": 2.0, "nld": 3.0, "kd": 0.5, "catkd": 15.0, "noise": 0.4}
    logits, terms = distilled(network, guide, **weights, **options)
    own, foreign = watched(network, "stages.1"), watched(guide, "stages.1")
    expected_logits = student_logits(network, images(), STEPS)
    with torch.no_grad():
        known = guide(images())
    torch.testing.assert_close(logits, expected_logits)
    features, maps = own.take(), foreign.take()
    heads = guide.classifier.weight, network.classifier.layer.weight  # type: ignore[union-attr]
    torch.testing.assert_close(
        terms["samd"],
        2 * SAMDLoss(**options)(features, maps, heads[0], known, heads[1], logits),
    )
    noise = torch.Generator().manual_seed(4)
    torch.testing.assert_close(terms["nld"], 3 * NLDLoss(noise=0.4)(logits, known, noise))
    torch.testing.assert_close(terms["kd"], 0.5 * KDLoss()(logits, known))
    torch.testing.assert_close(terms["catkd"], 15 * CATKDLoss()(features, maps, *heads))


@pytest.mark.parametrize(("stage", "mapping"), [(1, "cam-sam"), (2, "cam-sam"), (2, "cam-cam")])
def test_nothing_of_the_teacher_changes(stage: int, mapping: str) -> None:
    network, guide = student(), teacher()
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    _, terms = distilled(network, guide, stage=stage, mapping=mapping, samd=1, kd=1, catkd=1)
    torch.stack(list(terms.values())).sum().backward()
    assert not guide.training and not any(p.requires_grad for p in guide.parameters())
    assert all(torch.equal(before[name], value) for name, value in guide.state_dict().items())
    assert all(p.grad is None for p in guide.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_student_is_pulled_by_each_term_but_not_beyond_its_stage() -> None:
    network, guide = student(), teacher()
    for options in ({"samd": 1}, {"nld": 1}, {"kd": 1}, {"catkd": 1}, {"samd": 1, "stage": 1}):
        _, terms = distilled(network, guide, **({"samd": 0, "nld": 0} | options))
        (term,) = (value for name, value in terms.items() if name != "ce")
        network.zero_grad()
        term.backward()
        first = network.get_submodule("stages.0.0.layer.0").weight.grad
        assert isinstance(first, Tensor) and first.any(), options
        second = network.get_submodule("stages.1.0.layer.0").weight.grad
        assert (second is None) == ("stage" in options)


def test_a_stage_before_the_last_is_seen_by_grad_cam() -> None:
    network, guide = student(), teacher().eval()
    _, terms = distilled(network, guide, samd=1, nld=0, stage=1)
    own = watched(network, "stages.0")
    student_logits(network, images(), STEPS)
    # the oracle: one backward pass a sample, by hand
    maps = []
    for image in images():
        features = guide.stages[0](image[None]).detach().requires_grad_()
        logits = guide.classifier(guide.flatten(guide.pool(guide.stages[1](features))))
        logits.max().backward()
        alpha = features.grad.mean(dim=(2, 3), keepdim=True)
        maps.append((alpha * features.detach()).sum(dim=1).relu()[0] * 64)
    expected = SAMDLoss().compare(own.take().sum(dim=(0, 2)), torch.stack(maps))
    torch.testing.assert_close(terms["samd"], expected)


def test_stages_of_different_size_and_paths_of_the_users_own() -> None:
    _, terms = distilled(
        student(), teacher(), samd=1, student_stage="stages.0", teacher_stage="stages.1.0.1"
    )
    assert terms["samd"].isfinite() and terms["samd"] > 0
    with pytest.raises(UsageError, match="no such module.*'body'"):
        distilled(student(), teacher(), samd=1, teacher_stage="body")
    with pytest.raises(UsageError, match="expected 1 to 2, found 3"):
        distilled(student(), teacher(), samd=1, stage=3)


def test_the_students_cam_needs_its_last_stage() -> None:
    with pytest.raises(UsageError, match="cam-cam.*expected stages.1, found stages.0"):
        distilled(student(), teacher(), samd=1, mapping="cam-cam", stage=1)


def test_an_mlp_has_logits_to_distil_and_no_maps() -> None:
    network, guide = (build_model("mlp", spiking=s, inputs=64, sizes=(16,)) for s in (True, False))
    _, terms = distilled(network, guide, samd=0, nld=1, kd=1)
    assert list(terms) == ["ce", "nld", "kd"]
    for wrong in ({"samd": 1}, {"catkd": 1}):
        with pytest.raises(ShapeMismatchError, match="distill.samd and distill.catkd to 0"):
            distilled(network, guide, **wrong)


class _Tokens(nn.Module):
    """A user's network: patches of 4×4 as tokens, their mean classified; paths of its own."""

    def __init__(self, spiking: bool) -> None:
        super().__init__()
        self.spiking = spiking
        embed, head = nn.Linear(16, 12), nn.Linear(12, 10)
        self.embed = nn.Sequential(
            PerStep(embed) if spiking else embed, LIF(threshold=0.1) if spiking else nn.GELU()
        )
        self.head = PerStep(head) if spiking else head
        self.classifier_path = "head"
        self.readout = Accumulator() if spiking else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unfold(-2, 4, 4).unfold(-2, 4, 4).squeeze(-5).flatten(-2).flatten(-3, -2)
        scores: Tensor = self.readout(self.head(self.embed(tokens).mean(dim=-2)))
        return scores


def test_a_users_networks_of_tokens_by_their_paths() -> None:
    torch.manual_seed(0)
    network, guide = _Tokens(True), _Tokens(False)
    paths = {"student_stage": "embed", "teacher_stage": "embed"}
    _, terms = distilled(network, guide, samd=1, nld=1, catkd=1, mapping="cam-cam", **paths)
    assert list(terms) == ["ce", "samd", "nld", "catkd"]
    # the last stage in front of a mean and one linear layer: Grad-CAM is the CAM
    own, foreign = watched(network, "embed"), watched(guide, "embed")
    logits, known = student_logits(network, images(), STEPS), guide(images())
    maps = foreign.take().transpose(-2, -1).unflatten(-1, (2, 2))
    features = own.take().transpose(-2, -1).unflatten(-1, (2, 2))
    heads = guide.head.weight, network.head.layer.weight  # type: ignore[union-attr]
    loss = SAMDLoss(mapping="cam-cam")(features, maps, heads[0], known, heads[1], logits)
    torch.testing.assert_close(terms["samd"], loss)
    torch.testing.assert_close(terms["catkd"], CATKDLoss()(features, maps, *heads))


@pytest.mark.parametrize("name", ["resnet20", "spikformer", "vgg"])
def test_networks_of_this_package(name: str) -> None:
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "resnet20": {},
        "spikformer": {"dim": 16, "depth": 2, "heads": 2},
        "vgg": {"channels": (4, 8), "depths": (1, 1)},
    }[name]
    network = build_model(name, spiking=True, **small)
    guide = build_model(name, spiking=False, **small)
    batch = torch.rand(BATCH, 3, 16, 16)
    for stage in (1, None):
        _, terms = distilled(network, guide, batch, samd=1, nld=1, stage=stage)
        torch.stack(list(terms.values())).sum().backward()
        assert all(term.isfinite() for term in terms.values())


def test_event_frames_go_to_the_student_and_their_mean_to_the_teacher() -> None:
    network, guide = student(), teacher()
    frames = torch.rand(BATCH, STEPS, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    _, terms = distilled(network, guide, frames, samd=1, kd=1)
    logits = student_logits(network, frames, STEPS)
    with torch.no_grad():
        known = guide(frames.mean(dim=1))
    torch.testing.assert_close(terms["kd"], KDLoss()(logits, known))
    with pytest.raises(ShapeMismatchError, match="T = 3"):
        distilled(network, guide, frames[:, :2], kd=1)


def test_probabilities_and_smoothing_concern_the_cross_entropy_alone() -> None:
    def terms(targets: Tensor, smoothing: float) -> dict[str, Tensor]:
        objective = Distillation(student(), teacher(), STEPS, DistillConfig(), smoothing)
        return objective(images(), targets, torch.Generator().manual_seed(4))[1]

    plain = terms(TARGETS, 0.0)
    smoothed = terms(torch.nn.functional.one_hot(TARGETS, 10).float(), 0.1)
    torch.testing.assert_close((plain["samd"], plain["nld"]), (smoothed["samd"], smoothed["nld"]))
    assert plain["ce"] != smoothed["ce"]


def test_mixed_precision_leaves_the_losses_in_single() -> None:
    network, guide = student(), teacher()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, terms = distilled(network, guide, samd=1, nld=1, kd=1, catkd=1, mapping="cam-cam")
    assert {term.dtype for term in (logits, *terms.values())} == {torch.float32}
    torch.stack(list(terms.values())).sum().backward()
    _, exact = distilled(network, guide, samd=1, nld=1, kd=1, catkd=1, mapping="cam-cam")
    assert terms["kd"].item() == pytest.approx(exact["kd"].item(), rel=0.1)


def test_two_objectives_share_a_teacher() -> None:
    network, guide = student(), teacher()
    late = Distillation(network, guide, STEPS, DistillConfig())
    early = Distillation(network, guide, STEPS, DistillConfig(stage=1))
    for objective in (late, early):  # the leaf of one does not cut the gradient of the other
        _, terms = objective(images(), TARGETS, torch.Generator().manual_seed(4))
        assert terms["samd"] > 0


def test_the_hooks_go_with_the_objective() -> None:
    network, guide = student(), teacher()
    objective = Distillation(network, guide, STEPS, DistillConfig(catkd=1))
    del objective
    hooks = [m._forward_hooks for m in (*network.modules(), *guide.modules())]
    assert not any(hooks)
