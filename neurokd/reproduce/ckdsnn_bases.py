"""Data sets of the first paper's tables, each with a teacher, a student and their recipes."""

from __future__ import annotations

from neurokd.config import AugmentConfig, ModelConfig, RecipeConfig, TrainConfig
from neurokd.reproduce.experiment import Arm, Base

ALONE = Arm("alone", "student alone", None)
"""The arm that the others are compared with."""

_CONVNET = Base(
    TrainConfig(role="teacher", recipe=RecipeConfig(epochs=12)),
    TrainConfig(role="student", steps=4, recipe=RecipeConfig(epochs=12, learning_rate=1e-2)),
)
"""The demo's network on 28×28 digits."""


def _on(base: Base, data: str) -> Base:
    return Base(*(c.model_copy(update={"data": data}) for c in (base.teacher, base.student)))


def _nmnist() -> Base:
    """1,000 recordings need more epochs; two channels, one for each polarity.

    A neuron of the readout hears all 48 × 9 × 9 positions, of which a core of Loihi 2 takes 4,096.
    """
    model = ModelConfig(name="convnet", in_channels=2, channels=(16, 32, 64, 48))
    augment = AugmentConfig(max_shift=2)
    teacher = TrainConfig(
        role="teacher",
        data="nmnist",
        steps=8,
        model=model,
        recipe=RecipeConfig(epochs=30),
        augment=augment,
    )
    recipe = RecipeConfig(epochs=30, learning_rate=1e-2)
    return Base(teacher, teacher.model_copy(update={"role": "student", "recipe": recipe}))


def _cifar10() -> Base:
    """Few labels for a student that can learn them by heart, which is where a teacher can help.

    The student has 500 images and the teacher 5,000, or all where its published weights are given;
    their last stages have the same 8×8 positions.
    """
    augment = AugmentConfig(max_shift=4, flip=True)
    teacher = TrainConfig(
        role="teacher",
        data="cifar10",
        samples=5000,
        model=ModelConfig(name="cifar-resnet", layers=20),
        recipe=RecipeConfig(epochs=20, learning_rate=5e-3),
        augment=augment,
    )
    student = TrainConfig(
        role="student",
        data="cifar10",
        samples=500,
        steps=2,
        model=ModelConfig(
            name="convnet",
            in_channels=3,
            channels=(32, 64, 128),
            kernels=(3, 3, 3),
            strides=(2, 2, 1),
        ),
        recipe=RecipeConfig(epochs=100, batch_size=32, learning_rate=5e-3),
        augment=augment,
    )
    return Base(teacher, student)


BASES = {
    "mnist-subset": _on(_CONVNET, "mnist-subset"),
    "mnist": _on(_CONVNET, "mnist"),
    "nmnist": _nmnist(),
    "cifar10": _cifar10(),
}
