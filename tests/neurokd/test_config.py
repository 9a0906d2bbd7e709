from pathlib import Path

import pytest

from neurokd.config import preset_names, read_config, write_config
from neurokd.errors import NeurokdError


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_reads_and_survives_a_round_trip(tmp_path: Path, name: str) -> None:
    config = read_config(name)
    (tmp_path / "c.toml").write_text(write_config(config))
    assert read_config(tmp_path / "c.toml") == config
    if config.teacher:
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
        ("colour=red", "colour: unknown key"),
        ("recipe.epochs=0", "recipe.epochs"),
        ("recipe.epochs=many", "recipe.epochs"),
        ("recipe.learning_rate=nan", "recipe.learning_rate"),
        ("model.strides=[1]", "one entry per stage"),
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
