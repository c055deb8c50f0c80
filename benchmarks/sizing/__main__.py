"""What a corpus takes.

python -m benchmarks.sizing              the tables of docs/sizing.md
python -m benchmarks.sizing --measure    the constants behind them, anew: 10 GB of disk, an hour
python -m benchmarks.sizing --measure --rows 5000 --queries 20
"""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks.index.bench import show
from benchmarks.sizing import measure, model


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--measure", action="store_true")
    options.add_argument("--rows", type=int, nargs="+", default=[62_203, 310_000, 1_000_000])
    options.add_argument("--queries", type=int, default=100)
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the server along
    if not given.measure:
        print("\n".join(model.tables()))
        return
    for report in measure.run(given.rows, given.queries):
        show(report)


if __name__ == "__main__":
    main()
