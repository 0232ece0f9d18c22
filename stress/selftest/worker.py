"""The process of one mutant: plant it, look for it, print what was found.

What lives here: the entry point. What does not: anything that imports actorflow before the mutant is planted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from ..child import command, environment
from .mutant import CHECK, DISK, MIX, Mutant
from .mutants import MUTANTS
from .planting import plant

if TYPE_CHECKING:
    from collections.abc import Sequence

DISK_SEEDS = 3


def main() -> int:
    """Print one line of JSON: what was found, by whom, after how many seeds."""
    parser = argparse.ArgumentParser(prog="python -m stress.selftest.worker")
    parser.add_argument("--mutant", default="", help="its name; none: the kernel as it is")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--only", type=int, help="this seed alone")
    parser.add_argument("--likely", default="", help="scenarios that are taken first, with commas between")
    parser.add_argument("--open", type=Path, help="open this journal, and say by the exit code what came of it")
    options = parser.parse_args()
    mutant = MUTANTS[options.mutant] if options.mutant else None
    if mutant is not None:
        plant(mutant)
        os.environ["ACTORFLOW_STRESS_MUTANT"] = mutant.name
    logging.getLogger("actorflow").setLevel(logging.CRITICAL + 1)  # what is broken complains, as it should
    if options.open is not None:
        from .checks import open_once

        return open_once(options.open)
    began = time.perf_counter()
    try:
        if options.only is not None:
            found = only(options.only, [name for name in options.likely.split(",") if name])
        else:
            found = look(mutant, options.seeds)
    except Exception as error:  # noqa: BLE001 - the campaign has to hear of it, whatever it is
        found = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    found["seconds"] = round(time.perf_counter() - began, 2)
    print(json.dumps(found))
    return 0


def look(mutant: Mutant | None, seeds: int) -> dict[str, object]:
    """What is found of a mutant by its finder; of none, by all of them."""
    found: dict[str, object] = {"found": False, "seeds": 0}
    if mutant is None or mutant.finder == MIX:
        from .hunt import Hunt

        hunt = Hunt(likely=() if mutant is None else mutant.likely)
        wrong = hunt.go(seeds)
        excluded = []
        while wrong is not None and mutant is not None and is_there_anyway(wrong.seed, mutant.likely):
            excluded.append(wrong.seed)
            wrong = hunt.go(seeds, first=wrong.seed + 1)
        found |= {"seeds": sum(hunt.tried.values()), "excluded": excluded}
        if mutant is None:
            found["never"] = sorted(name for name, count in hunt.happened.items() if not count)
        if wrong is not None:
            where = f"{wrong.scenario}, {wrong.mode}"
            return found | {"found": True, "where": where, "oracle": wrong.oracle, "sentence": wrong.sentence}
    if mutant is None or mutant.finder == DISK:
        from .checks import disk

        for seed in range(1, DISK_SEEDS + 1):
            if sentence := disk(seed):
                return found | {"found": True, "where": "crash", "oracle": "disk", "sentence": sentence, "seeds": seed}
    if mutant is None or mutant.finder == CHECK:
        from .checks import CHECKS

        for name in sorted(CHECKS) if mutant is None else [mutant.check]:
            if sentence := CHECKS[name]():
                return found | {"found": True, "where": "check", "oracle": name, "sentence": sentence, "seeds": 1}
    return found


def only(seed: int, likely: Sequence[str]) -> dict[str, object]:
    """What is found in one seed."""
    from .hunt import Hunt

    return {"found": Hunt(likely=likely).go(seed + 1, first=seed) is not None, "seeds": 1}


def is_there_anyway(seed: int, likely: Sequence[str]) -> bool:
    """Whether the kernel as it is fails in this seed, too: then it is no bug of the mutant's."""
    asking = command("stress.selftest.worker", "--only", str(seed), "--likely", ",".join(likely))
    done = subprocess.run(asking, env=environment(), capture_output=True, text=True, check=True)
    return bool(json.loads(done.stdout.splitlines()[-1])["found"])


if __name__ == "__main__":
    sys.exit(main())
