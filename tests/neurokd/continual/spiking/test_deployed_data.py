"""Samples become one pulse of whole numbers."""

import numpy as np
import pytest
import torch

from neurokd.config import ContinualConfig
from neurokd.continual.spiking.deployed_data import as_messages, as_pulse, deployed_data
from neurokd.data import LabelledData
from neurokd.errors import UsageError
from neurokd.models.spiking_sdmlp import messages

DATA = LabelledData("two", np.array([[[3, 4]], [[1, 0]]], dtype=np.float32), np.array([1, 0]))


def config(spiking: bool = True) -> ContinualConfig:
    return ContinualConfig.model_validate(
        {"role": "continual", "network": {"name": "sdmlp"}}
        | ({"spiking": {"steps": 5}} if spiking else {})
    )


def test_all_of_a_sample_is_in_the_first_frame() -> None:
    found = deployed_data(config(), DATA)
    assert found.events and found.x.dtype == np.uint8 and found.x.shape == (2, 5, 2)
    assert found.x[:, 0].tolist() == [[77, 102], [128, 0]]  # 128 · (0.6, 0.8)
    assert not found.x[:, 1:].any() and found.y.tolist() == [1, 0]


def test_a_pulse_holds_the_messages_of_the_network() -> None:
    static = as_messages(DATA)
    assert np.array_equal(static.x, messages(torch.from_numpy(DATA.x)).numpy())
    assert np.array_equal(as_pulse(static, 3).x[:, 0], static.x)


def test_frames_and_runs_without_a_spiking_student_are_refused() -> None:
    frames = LabelledData("frames", np.zeros((2, 3, 4), np.uint8), np.array([0, 1]), events=True)
    with pytest.raises(UsageError, match="static samples"):
        as_messages(frames)
    with pytest.raises(UsageError, match="no spiking student"):
        deployed_data(config(spiking=False), DATA)
