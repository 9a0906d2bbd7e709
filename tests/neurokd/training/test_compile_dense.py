import pytest
import torch

from neurokd.errors import BackendUnavailableError, UsageError
from neurokd.models import build_model
from neurokd.training.compile_dense import compiled_stages
from neurokd.training.features import StageFeatures


@pytest.mark.slow
# Both are of torch, in its own compiler.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_network_computes_the_same_and_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    network = build_model("convnet", spiking=False, channels=(4, 6), kernels=(3, 3), strides=(2, 2))
    x = torch.rand(4, 1, 12, 12)
    seen = []
    network.stages[1].register_forward_hook(lambda m, inputs, output: seen.append(output.shape))
    plain = network(x)
    plain.sum().backward()
    expected = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    with compiled_stages(network):
        compiled = network(x)
        compiled.sum().backward()
        network.eval()
        network(x)  # as it is
    assert "forward" not in vars(network.stages[0])
    torch.testing.assert_close(compiled, plain)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
    assert len(seen) == 3


def test_hooks_inside_a_stage_are_refused() -> None:
    network = build_model("convnet", spiking=False, channels=(4, 6), kernels=(3, 3), strides=(2, 2))
    features = StageFeatures(network, "stages.1.0")
    with pytest.raises(UsageError, match="'stages.1.0'.*'stages.1' alone.*teacher_stage"):
        with compiled_stages(network):
            pass
    assert not any("forward" in vars(module) for module in network.modules())
    del features


def test_a_stage_that_is_not_there_is_refused() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(1, 1))
    network.feature_stages = ("1",)  # type: ignore[assignment]
    with pytest.raises(UsageError, match="no such module.*'1'"), compiled_stages(network):
        pass


def test_without_a_compiler_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    network = build_model("convnet", spiking=False)
    with pytest.raises(BackendUnavailableError, match="compiled = false"), compiled_stages(network):
        pass
