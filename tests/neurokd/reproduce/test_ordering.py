from neurokd.reproduce.ordering import check_ordering

ACCURACIES = {
    "full": {0: 80.0, 1: 81.0},
    "samd": {0: 79.0, 1: 79.0},  # full − samd: 1, 2: mean 1.5, error 0.5
    "nld": {0: 78.0, 1: 80.0},  # samd − nld: 1, −1: mean 0
    "kd": {0: 77.0, 1: 80.5},  # full − kd: 3, 0.5: mean 1.75, error 1.25; nld − kd: 1, −0.5
    "one": {0: 70.0},
}


def test_every_link_is_measured() -> None:
    ordering = check_ordering(("full", "samd", "nld"), ACCURACIES)
    assert [(step.better, step.worse) for step in ordering.steps] == [
        ("full", "samd"),
        ("samd", "nld"),
    ]
    assert [step.difference and step.difference.mean for step in ordering.steps] == [1.5, 0.0]
    assert [step.holds for step in ordering.steps] == [True, False]
    assert ordering.holds is False and ordering.beyond_error is False


def test_a_chain_that_holds_within_and_beyond_the_error_bars() -> None:
    beyond = check_ordering(("full", "kd"), ACCURACIES)
    assert (beyond.holds, beyond.beyond_error) == (True, True)
    within = check_ordering(("nld", "kd"), ACCURACIES)  # mean 0.25, error 0.75
    assert (within.holds, within.beyond_error) == (True, False)


def test_what_is_missing_is_unknown() -> None:
    assert check_ordering(("full", "absent"), ACCURACIES).holds is None
    one = check_ordering(("full", "one"), ACCURACIES)
    assert (one.holds, one.beyond_error) == (True, None)
    # One link that fails decides, whatever is missing.
    assert check_ordering(("samd", "nld", "absent"), ACCURACIES).holds is False
