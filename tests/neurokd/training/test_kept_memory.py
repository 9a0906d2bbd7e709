import subprocess
import sys

PROGRAM = """
import resource
from neurokd.training.kept_memory import keep_freed_memory
import torch

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(2**24).add_(1)  # 64 MB, beyond what glibc keeps
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults()
kept = keep_freed_memory()
faults()
print(kept, default, faults())
"""


def test_large_blocks_are_used_again_where_the_c_library_can() -> None:
    """In a process of its own: the setting lasts as long as the process."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, check=True
    )
    kept, default, after = run.stdout.split()
    if kept == "True":
        assert int(after) < 0.1 * int(default)
