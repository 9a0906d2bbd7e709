"""What a cluster must have, on a stand-in for Ray; `test_reproduce` runs a grid on a real one."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from neurokd.errors import BackendUnavailableError
from neurokd.reproduce.ray_pool import RayPool


class Cluster(SimpleNamespace):
    """As much of Ray as connecting takes: alive machines, and one that is not."""

    def __init__(self, *machines: dict[str, float]) -> None:
        self.events: list[str] = []
        alive = [{"Alive": True, "Resources": machine} for machine in machines]
        self._nodes = [*alive, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}]

    def init(self, **options: Any) -> None:
        self.events.append("init")

    def shutdown(self) -> None:
        self.events.append("shutdown")

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes

    def remote(self, **resources: Any) -> Any:
        self.events.append(f"remote {resources['num_cpus']} {resources['num_gpus']}")
        return lambda function: function


@pytest.mark.parametrize(
    ("threads", "gpus", "message"),
    [
        (1, 1, r"as many GPUs as a run needs \(expected 1, found 0 at most\); take --device cpu"),
        # eight cores in all, but no machine has so many
        (8, 0, r"as many CPUs as a run needs \(expected 8, found 4 at most\).*fewer --threads"),
    ],
)
def test_what_no_machine_has_is_refused_rather_than_waited_for(
    monkeypatch: pytest.MonkeyPatch, threads: int, gpus: int, message: str
) -> None:
    cluster = Cluster({"CPU": 4.0}, {"CPU": 4.0}, {"CPU": 0.0, "GPU": 1.0})
    monkeypatch.setitem(sys.modules, "ray", cluster)
    with pytest.raises(BackendUnavailableError, match=message), RayPool("far", 2, threads, gpus):
        raise AssertionError("it was taken")
    assert cluster.events == ["init", "shutdown"]


def test_one_machine_with_all_of_it_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster({"CPU": 1.0}, {"CPU": 4.0, "GPU": 1.0})
    monkeypatch.setitem(sys.modules, "ray", cluster)
    with RayPool("far", 2, 4, 1):
        assert cluster.events == ["init", "remote 4 1"]
    assert cluster.events[-1] == "shutdown"
