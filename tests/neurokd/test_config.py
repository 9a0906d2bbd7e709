from pathlib import Path

import pytest

from neurokd.config import (
    AugmentConfig,
    EmbedConfig,
    RecipeConfig,
    TrainConfig,
    described_config,
    preset_names,
    read_any_config,
    read_config,
    write_config,
)
from neurokd.errors import NeurokdError


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_reads_and_survives_a_round_trip(tmp_path: Path, name: str) -> None:
    config = read_any_config(name)
    (tmp_path / "c.toml").write_text(write_config(config))
    assert read_any_config(tmp_path / "c.toml") == config
    if isinstance(config, TrainConfig) and config.teacher:
        assert read_config(config.teacher).role == "teacher"


def test_overrides_are_typed_as_in_toml() -> None:
    config = read_config(
        "mnist-student",
        [
            "recipe.epochs=3",
            "data=other.npz",
            "model.strides=[1,1,1,1]",
            "distill.tau_squared=false",
        ],
    )
    assert config.recipe.epochs == 3 and config.data == "other.npz"
    assert config.model.strides == (1, 1, 1, 1)
    assert config.distill is not None and config.distill.tau_squared is False


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.epoch=3", "recipe.epoch: unknown key"),
        ("recipe.epoch=3", "expected epochs"),  # the near one
        ("colour=red", "colour: unknown key, expected role, data, "),
        ("recipe.epochs=0", "recipe.epochs"),
        ("recipe.epochs=many", "recipe.epochs"),
        ("recipe.learning_rate=nan", "recipe.learning_rate"),
        ("recipe.learning_rate=fast", r"expected a valid number.*\(found 'fast'\)"),
        ("model.name=resnet50", "model.name: expected 'convnet', "),
        ("model.strides=[1]", "model: channels, kernels and strides need one entry per stage"),
        ("model.width=2", "width is not an option of convnet: it has in_channels, channels"),
        ("model.kernels=[2,3,3,3]", "odd"),
        ("data.name=x", "no parts"),
        ("recipe.epochs", "not an override"),
        ("role=teacher", "a teacher is not distilled"),
    ],
)
def test_bad_overrides_are_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(NeurokdError, match=message) as error:
        read_config("mnist-student", [override])
    assert "\n" not in str(error.value)
    assert "Value error" not in str(error.value) and "Input should" not in str(error.value)


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("mnist-student", ["recipe.mixup_epochs=3"], "a mixup that is off"),
        ("mnist-student", ["recipe.momentum=0.5"], "momentum is for optimizer = 'sgd'"),
        ("mnist-student", ["recipe.final_learning_rate=1e-4"], "for schedule = 'cosine'"),
        ("mnist-student", ["recipe.patience=3"], "need validation > 0"),
        ("mnist-student", ["distill.samd=0", "distill.nld=0"], "nothing is distilled"),
        ("mnist-student", ["distill.samd=0", "distill.stage=1"], "stage is for samd"),
        ("mnist-student", ["distill.nld=0", "distill.nld_sigma=1.0"], "nld_sigma is for nld"),
        ("mnist-student-alone", ["teacher=mnist-teacher"], "nobody listens to this teacher"),
        ("mnist-student-alone", ["compiled=true"], "none takes part"),
        (
            "mnist-student",
            ["model.name=cifar-resnet", "model.in_channels=3"],
            "without a spiking form",
        ),
        ("mnist-teacher", ["model.name=cifar-resnet", "model.in_channels=1"], "must be 3"),
        (
            "mnist-teacher",
            ["model.name=module", "model.factory=own:net", "model.beta=0.7"],
            "beta is decided by the factory",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    preset: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(NeurokdError, match=message):
        read_config(preset, overrides)


@pytest.mark.parametrize("name", preset_names())
def test_a_described_configuration_has_every_key_and_reads_back(tmp_path: Path, name: str) -> None:
    config = read_any_config(name)
    text = described_config(config)
    (tmp_path / "c.toml").write_text(text)
    assert read_any_config(tmp_path / "c.toml") == config
    keys = {line.removeprefix("# ").partition(" =")[0] for line in text.splitlines()}
    if isinstance(config, EmbedConfig):
        assert keys >= set(EmbedConfig.model_fields) - {"model"}
        assert keys >= set(config.model.geometry(spiking=False))
        return
    if not isinstance(config, TrainConfig):
        assert keys >= set(config.network.offered()) | set(type(config.learning).model_fields)
        return
    assert keys >= set(RecipeConfig.model_fields) | set(AugmentConfig.model_fields)
    assert keys >= set(config.model.geometry(spiking=config.role == "student"))


def test_a_described_configuration_says_what_a_key_takes() -> None:
    text = described_config(read_config("mnist-teacher"))
    assert 'optimizer = "adamw"  # adamw | sgd' in text
    assert "# autoaugment =  # cifar10 | imagenet | svhn; a learned policy, for RGB images" in text
    assert "kernels = [5, 3, 3, 3]  # convnet: of each stage" in text
    assert "width" not in text and "[distill]" not in text


@pytest.mark.parametrize(
    ("content", "message"), [(b"role = ", "not TOML"), (b"\xff\xfe", "cannot be read")]
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(NeurokdError, match=message):
        read_config(path)


def test_a_missing_file_names_the_presets() -> None:
    with pytest.raises(NeurokdError, match="mnist-student"):
        read_config("mnist-studnet")
