"""Fine-tuning of a run: its weights become those that the chip stores, and the run says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from neurokd.data import load_data
from neurokd.errors import FileFormatError
from neurokd.run import RunFolder, configured_model, load_state, read_weights
from neurokd.training.fit import Progress

if TYPE_CHECKING:
    from torch import nn

RECORD = "quantisation.json"
"""The grid that a run's weights lie on, with the fingerprint of the weights it is true of."""


def finetune_run(
    folder: RunFolder,
    teacher: nn.Module | None,
    weight_bits: int,
    chip: str = "loihi2",
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> None:
    """Replace the run's weights by ones trained in the chip's integers.

    The float weights stay in ``RUN/finetune/model.safetensors``; a second fine-tuning starts from
    them again. The test split is evaluated once, afterwards.
    """
    import torch

    from neurokd.training.devices import Devices
    from neurokd.training.evaluate import tested_row
    from neurokd.training.finetune import finetune

    config = folder.config()
    before = RunFolder(folder.path / "finetune")
    student = folder.load_model()
    if recorded_quantisation(folder) is not None:
        student = configured_model(config)
        load_state(student, read_weights(before.weights), before.weights)
        student.eval()
    before.save_model(student)
    tuned = finetune(
        student,
        config,
        load_data(config.data, "train", steps=config.steps).first(config.samples),
        before,
        weight_bits=weight_bits,
        teacher=teacher,
        epochs=config.qat_epochs,
        chip=chip,
        resume=resume and before.checkpoint.is_file(),
        progress=progress,
    )
    folder.save_model(tuned.student)
    folder.write_json(RECORD, {"weights": folder.fingerprint(), **tuned.quantisation.arguments()})
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    rows = [row for row in rows if row["split"] != "test"]  # that of other weights
    alone = Devices(torch.device("cpu"))
    folder.write_metrics([*rows, tested_row(tuned.student, config, rows[-1]["epoch"], alone)])


def recorded_quantisation(folder: RunFolder) -> dict[str, Any] | None:
    """Arguments of `lower` for the grid that the run's weights lie on; None if they lie on none.

    Raises: `FileFormatError` for a record that is broken.
    """
    file = folder.path / RECORD
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        weights = record.pop("weights")
        found = {key: record.pop(key) for key in ("weight_bits", "scales", "exponents")}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise FileFormatError(
            "this is no record of a quantisation",
            where=str(file),
            found=f"{type(error).__name__}: {error}",
            remedy="remove it, and fine-tune again",
        ) from error
    return found if weights == folder.fingerprint() else None
