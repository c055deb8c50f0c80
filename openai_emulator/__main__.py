"""``python -m openai_emulator --port 0 --latency-ms 100``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

# The emulator shares the machine with what it is to measure: one thread, said before numpy loads.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options and serve."""
    from openai_emulator.app import Settings
    from openai_emulator.limits import Limits
    from openai_emulator.server import serve

    parser = argparse.ArgumentParser(prog="openai_emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--latency-ms", type=float, default=0, help="arrival to answer")
    parser.add_argument("--rpm", type=int, help="requests a minute, all keys together")
    parser.add_argument("--tpm", type=int, help="tokens a minute, all keys together")
    parser.add_argument("--key-rpm", type=int, help="requests a minute of each key")
    parser.add_argument("--key-tpm", type=int, help="tokens a minute of each key")
    parser.add_argument("--valid-key", action="append", help="again for each; else any sk-test-…")
    parser.add_argument("--dialect", default="openai", help="another server to behave like")
    parser.add_argument("--owner", type=int, help="end when this parent process has ended")
    given = parser.parse_args(argv)
    settings = Settings(
        latency_ms=given.latency_ms,
        organisation=Limits(given.rpm, given.tpm),
        per_key=Limits(given.key_rpm, given.key_tpm),
        valid_keys=given.valid_key,
        dialect=given.dialect,
    )
    serve(settings, host=given.host, port=given.port, owner=given.owner)


if __name__ == "__main__":
    main()
