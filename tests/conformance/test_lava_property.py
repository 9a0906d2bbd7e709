"""Random networks of the full grammar: the emulator equals Lava in every integer of every step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from lava_check import Outcome, check_seed, digest, first_difference, shrink
from lava_features import OFTEN, SOMETIMES, structure_features
from lava_grammar import random_case

from neurokd.hardware.emulator import emulate
from neurokd.hardware.lava_process import LavaWorker
from neurokd.hardware.run import RECORDABLE

FAST = range(48)
LONG = [range(start, start + 60) for start in range(48, 288, 60)]


@cache
def outcomes(seeds: range, lava_worker: LavaWorker) -> list[Outcome]:
    """Each network once, whichever tests ask for it."""
    return [check_seed(seed, lava_worker) for seed in seeds]


def met(found: list[Outcome]) -> Counter[str]:
    return Counter(feature for outcome in found for feature in outcome.features)


def assert_identical(found: list[Outcome], at_least: int) -> None:
    differences = [o.difference for o in found if o.difference is not None]
    assert not differences, "\n\n".join(differences)
    compared = [o for o in found if o.refused is None]
    assert len(compared) >= at_least, [o.refused for o in found if o.refused]


@pytest.mark.lava
def test_forty_networks_and_more_are_identical(lava_worker: LavaWorker) -> None:
    assert_identical(outcomes(FAST, lava_worker), at_least=40)


@pytest.mark.lava
def test_these_networks_meet_what_they_are_to_test(lava_worker: LavaWorker) -> None:
    seen = met(outcomes(FAST, lava_worker))
    assert {feature for feature in OFTEN if not seen[feature]} == set()


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("seeds", LONG, ids=str)
def test_two_hundred_networks_and_more_are_identical(seeds: range, lava_worker: LavaWorker) -> None:
    assert_identical(outcomes(seeds, lava_worker), at_least=45)


@pytest.mark.lava
@pytest.mark.slow
def test_those_networks_meet_what_they_are_to_test(lava_worker: LavaWorker) -> None:
    seen = sum((met(outcomes(seeds, lava_worker)) for seeds in (FAST, *LONG)), Counter[str]())
    assert {feature for feature in OFTEN if seen[feature] < 4} == set()
    assert {feature for feature in SOMETIMES if not seen[feature]} == set()


def test_a_seed_names_one_network() -> None:
    first, again = random_case(5), random_case(5)
    np.testing.assert_array_equal(first.x, again.x)
    assert repr(first.net) == repr(again.net) != repr(random_case(6).net)


def test_a_changed_integer_is_found_and_named() -> None:
    case = random_case(1)
    run = emulate(case.net, case.x, case.steps, record=RECORDABLE)
    assert first_difference(run, run) is None
    name = case.net.output
    for variable, values in run.records[name].items():
        other = values.copy()
        other[2, 0].flat[0] += 1
        changed = {**run.records, name: {**run.records[name], variable: other}}
        text = first_difference(run, replace(run, records=changed))
        assert text is not None and text.startswith(f"{variable} of {name!r}, step 3, sample 0")
        assert digest(replace(run, records=changed)) != digest(run)
    assert first_difference(run, replace(run, latency=99)) is not None
    assert first_difference(run, replace(run, output=run.output + 1)) == "output"


def test_shrinking_keeps_what_differs_and_drops_the_rest() -> None:
    def loops(case: object) -> bool:
        return any(p.recurrent for p in case.net.projections)  # type: ignore[attr-defined]

    seed = next(
        seed
        for seed in range(200)
        if loops(case := random_case(seed)) and case.samples > 1 and len(case.net.populations) > 3
    )
    least = shrink(random_case(seed), loops)
    assert (least.samples, least.steps) == (1, 1)
    assert sum(p.recurrent for p in least.net.projections) == 1
    assert len(least.net.projections) < len(random_case(seed).net.projections)
    assert "several samples" not in structure_features(least)
