from pathlib import Path

import pytest
import torch

from neurokd.data import LabelledData, load_data
from neurokd.export.lower import lower
from neurokd.export.trace import trace
from neurokd.hardware.network import DeployedNetwork
from neurokd.run import RunFolder
from neurokd.training.evaluate import predict
from neurokd.training.finetune import ChipWeight, finetune, trained_scales
from neurokd.verify import verify

pytestmark = pytest.mark.training
BITS = 3


def _lower(
    student: torch.nn.Module, data: LabelledData, scales: dict[str, float] | None = None
) -> DeployedNetwork:
    graph = trace(student, torch.zeros(1, 1, 28, 28), steps=4)
    return lower(graph, calibration=data.first(64).x, steps=4, weight_bits=BITS, scales=scales)


def test_chip_weights_by_hand() -> None:
    weight = torch.tensor([0.26, -0.24, 5.0, -5.0], requires_grad=True)
    out = ChipWeight(scale=100.0, bits=8)(weight)
    # A w / 2 = 13, −12, 250 → 127, −250 → −128; times 2 / 100
    assert torch.allclose(out, torch.tensor([0.26, -0.24, 2.54, -2.56]))
    out.sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [1.0] * 4


def test_what_is_trained_is_what_is_deployed(
    trained_run: Path, tiny_data: str, tmp_path: Path
) -> None:
    run = RunFolder(trained_run)
    student, data = run.load_model(), load_data(tiny_data)
    before = _lower(student, data)
    weights = {k: v.clone() for k, v in student.state_dict().items()}
    tuned = finetune(student, before, run.config(), data, RunFolder(tmp_path / "f"), epochs=4)
    assert all(torch.equal(weights[k], v) for k, v in student.state_dict().items())
    after = _lower(tuned, data, trained_scales(before))
    notes = {
        name: net.metadata["lowering"]["populations"] for name, net in (("b", before), ("a", after))
    }
    for population in ("stages_0_1", "stages_1_1"):
        assert notes["b"][population]["rms_weight_error"] > 1e-3
        assert notes["a"][population]["rms_weight_error"] < 1e-6

    def difference(model: torch.nn.Module, net: DeployedNetwork) -> float:
        rows = {row.backend: row for row in verify(model, net, data, ["emulator"]).rows}
        agreement = rows["emulator"].agreement
        assert agreement is not None
        return agreement

    assert difference(tuned, after) > difference(student, before)
    right = predict(tuned, data, 4).argmax(1).numpy() == data.y
    assert float(right.mean()) > 0.5  # it has learnt something: agreement is no coincidence
