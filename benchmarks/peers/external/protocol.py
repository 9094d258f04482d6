"""What the scripts beside this one share: the case that comes in, the answer that goes out.

Knows nothing of fercleaner and needs numpy alone, whatever its version.
"""

import os
import sys
import time

import numpy as np

#: Share of the free memory that a tool may take; beyond, it fails with a MemoryError instead of starving the machine.
MEMORY_SHARE = 0.8


class Answer:
    """The scores of one tool, gathered and written at once."""

    def __init__(self):
        self.arrays = {}

    def say(self, name, start, suspicion, flagged=None, label=None, distribution=None):
        """Add a score; `start` is time.perf_counter() when the tool began."""
        self.arrays[f"{name}/seconds"] = time.perf_counter() - start
        said = {"suspicion": suspicion, "flagged": flagged, "label": label, "distribution": distribution}
        self.arrays.update({f"{name}/{part}": values for part, values in said.items() if values is not None})


def run(main):
    """Call main(case, say) on the case named first on the command line and write its answer where the second says."""
    case_file, answer_file = sys.argv[1:]
    limit_memory()
    answer = Answer()
    with np.load(case_file, allow_pickle=False) as arrays:
        case = {key: arrays[key] for key in arrays.files}
    main(case, answer.say)
    np.savez(answer_file + ".new.npz", **answer.arrays)
    os.replace(answer_file + ".new.npz", answer_file)


def limit_memory():
    """Allow this process `MEMORY_SHARE` of what is free now, on Linux; elsewhere the system decides."""
    try:
        import resource

        with open("/proc/meminfo") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        resource.setrlimit(resource.RLIMIT_DATA, (int(free * MEMORY_SHARE), resource.RLIM_INFINITY))
    except (ImportError, OSError, StopIteration, ValueError):
        return
