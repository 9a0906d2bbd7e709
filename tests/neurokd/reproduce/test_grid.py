from collections import Counter

import pytest

from neurokd.data import DATA_SETS
from neurokd.errors import UsageError
from neurokd.reproduce import EXPERIMENTS, Experiment
from neurokd.reproduce.grid import make_grid


def test_arms_times_seeds_times_data_and_their_teachers() -> None:
    experiment = EXPERIMENTS["ckdsnn-ablation"]
    runs = make_grid(experiment, ["mnist-subset", "mnist"], 3)
    assert len(runs) == 2 * 3 * (5 + 1) == len({run.key for run in runs})
    assert Counter(run.arm for run in runs) == dict.fromkeys(
        ("teacher", "alone", "kd", "samd", "nld", "samd-nld"), 6
    )
    assert all(run.arm == "teacher" for run in runs[:6])  # first, and none later
    by_key = {run.key: run for run in runs}
    full = by_key["mnist-samd-nld-2"]
    assert full.needs == "mnist-teacher-2" and by_key[full.needs].seed == full.seed == 2
    assert full.config.data == "mnist" and full.config.seed == 2
    assert full.config.distill is not None
    assert (full.config.distill.samd, full.config.distill.nld, full.config.distill.kd) == (1, 1, 0)
    assert by_key["mnist-alone-0"].needs is None and by_key["mnist-alone-0"].config.distill is None


def test_a_foreign_teacher_is_not_trained() -> None:
    runs = make_grid(EXPERIMENTS["ckdsnn-cifar"], ["cifar10"], 2, foreign_teacher=True)
    assert [run.key for run in runs] == [
        "cifar10-alone-0",
        "cifar10-ckdsnn-0",
        "cifar10-alone-1",
        "cifar10-ckdsnn-1",
    ]
    assert all(run.needs is None for run in runs)


@pytest.mark.parametrize(("data", "seeds"), [(["imagenet"], 3), (["mnist-subset"], 0)])
def test_what_makes_no_sense_is_refused(data: list[str], seeds: int) -> None:
    with pytest.raises(UsageError):
        make_grid(EXPERIMENTS["ckdsnn-scaling"], data, seeds)


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=lambda e: e.name)
def test_definitions_are_complete(experiment: Experiment) -> None:
    arms = {arm.name: arm for arm in experiment.arms}
    assert len(arms) == len(experiment.arms)
    assert arms[experiment.baseline].distill is None and experiment.proposed in arms
    assert all(arm in arms for ordering in experiment.orderings for arm in ordering)
    assert set(experiment.data) <= set(experiment.bases)
    for name, base in experiment.bases.items():
        assert name == base.teacher.data == base.student.data and name in DATA_SETS
        assert (base.teacher.role, base.student.role) == ("teacher", "student")
        # The whole configuration is valid, and not only copied from one that is.
        for config in (base.teacher, base.student):
            assert type(config).model_validate(config.model_dump()) == config


def test_the_numbers_of_the_paper() -> None:
    """Spec 1.5; where its two sources disagree, both are there."""
    percents = {
        (experiment.name, arm.name): [number.percent for number in arm.published]
        for experiment in EXPERIMENTS.values()
        for arm in experiment.arms
        if arm.published
    }
    assert percents == {
        ("ckdsnn-ablation", "samd-nld"): [79.62],
        ("ckdsnn-ablation", "samd"): [78.95],
        ("ckdsnn-ablation", "nld"): [77.58],
        ("ckdsnn-scaling", "softmax"): [79.11],
        ("ckdsnn-scaling", "zscore"): [76.48],
        ("ckdsnn-scaling", "l2"): [75.56, 74.78],
        ("ckdsnn-scaling", "none"): [75.56],
        ("ckdsnn-scaling", "catkd"): [77.23],
        ("ckdsnn-cifar", "ckdsnn"): [93.44],
    }


def test_the_cifar_table_is_the_recipe_of_the_papers_code() -> None:
    """Spec 1.3 and 1.4: 400 epochs of SGD, T = 1, a real-valued last stage."""
    base = EXPERIMENTS["ckdsnn-cifar"].bases["cifar10"]
    student, teacher = base.student, base.teacher
    assert (student.steps, student.model.name, student.model.width) == (1, "resnet20", 1)
    assert student.model.last_activation == "relu"
    for config, rate in ((student, 0.1), (teacher, 0.05)):
        recipe, augment = config.recipe, config.augment
        assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (400, 128, rate)
        assert (recipe.optimizer, recipe.schedule, recipe.weight_decay) == ("sgd", "cosine", 1e-4)
        assert (augment.max_shift, augment.flip, augment.erasing) == (4, True, 0.5)
        assert augment.autoaugment == "cifar10"
