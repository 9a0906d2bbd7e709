from neurokd.errors import NeurokdError


def test_the_message_is_one_line_with_every_part() -> None:
    error = NeurokdError("it\nfails", where="a.toml", expected="1", found="2", remedy="do this")
    assert str(error) == "a.toml: it fails (expected 1, found 2); do this"
    assert str(NeurokdError("alone")) == "alone"
