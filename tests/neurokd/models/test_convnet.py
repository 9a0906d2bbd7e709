import pytest
import torch

from neurokd.errors import UsageError
from neurokd.models import ConvNet, build_model


def test_teacher_and_student_have_the_same_geometry() -> None:
    x = torch.rand(2, 1, 28, 28)
    dense, spiking = ConvNet(), ConvNet(spiking=True)
    with torch.no_grad():
        features = dense.stages(x)
        spikes = spiking.stages(x.expand(3, *x.shape))
        assert features.shape == (2, 64, 7, 7)
        assert spikes.shape == (3, 2, 64, 7, 7)
        assert dense(x).shape == (2, 10)
        assert spiking(x.expand(3, *x.shape)).shape == (3, 2, 10)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    count = [sum(p.numel() for p in net.parameters()) for net in (dense, spiking)]
    # convolutions 400 + 4,608 + 18,432 + 36,864, batch norms 2·176, linear 650
    assert count == [61_306, 61_306]


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UsageError, match="convnet"):
        build_model("resnet-1", spiking=True)
