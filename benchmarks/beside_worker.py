"""Takes training steps with the Carryline of another folder, for beside.py.

    python benchmarks/beside_worker.py SITE GIVEN

GIVEN: a pickle of what to train on. For each line that it reads it takes the steps once and prints
the seconds. Settings that the Carryline there does not know are left out.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path


def main(site: str, given: str) -> None:
    sys.path.insert(0, site)
    import carryline
    from carryline.bench import TrainingSteps
    from carryline.model.config import Config
    from carryline.recurrence.ragged import Ragged

    if Path(site).resolve() not in Path(carryline.__file__).resolve().parents:
        raise SystemExit(f"there is no Carryline in {site}: {carryline.__file__} was loaded")
    known, about = Config().to_dict(), pickle.loads(Path(given).read_bytes())
    config = Config().replace(**{k: v for k, v in about["settings"].items() if k in known})
    batches = [Ragged(*batch) for batch in about["batches"]]
    steps = TrainingSteps(config, about["vocabulary"], batches, about["targets"], about["threads"])
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        steps()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
