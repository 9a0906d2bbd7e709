"""What the networks of the tables must be for the tables to mean something."""

import torch

from neurokd.config import TrainConfig
from neurokd.reproduce.ckdsnn_bases import BASES
from neurokd.run import configured_model
from neurokd.training.stages import feature_stages


def last_map(config: TrainConfig, size: int) -> tuple[int, ...]:
    """(C, H, W) of the last stage for square samples of ``size``."""
    network = configured_model(config).eval()
    shapes = []
    stage = network.get_submodule(feature_stages(network)[-1])
    stage.register_forward_hook(lambda module, inputs, out: shapes.append(tuple(out.shape[-3:])))
    channels = config.model.in_channels or 3
    x = torch.zeros(1, channels, size, size)
    with torch.no_grad():
        network(x.expand(config.steps, *x.shape) if config.role == "student" else x)
    return shapes[0]


def test_a_core_of_loihi_2_takes_all_that_the_readout_of_the_event_student_hears() -> None:
    channels, height, width = last_map(BASES["nmnist"].student, 34)
    assert (channels, height, width) == (48, 9, 9)  # 34 → 17 → 9 by strides of 2
    assert channels * height * width <= 4096


def test_maps_of_teacher_and_student_have_the_same_positions() -> None:
    for name, size in (("cifar10", 32), ("nmnist", 34), ("mnist", 28)):
        base = BASES[name]
        assert last_map(base.student, size)[1:] == last_map(base.teacher, size)[1:]
    assert last_map(BASES["cifar10"].student, 32) == (128, 8, 8)


def test_the_student_of_cifar10_has_fewer_labels_than_its_teacher() -> None:
    base = BASES["cifar10"]
    assert base.student.samples is not None and base.teacher.samples is not None
    assert base.student.samples < base.teacher.samples
