"""Record the exporter's samples during a scenario, and evaluate the alerts on them.

Samples are taken each second, and shown to the rules as if each were a longer step later: what
took half a minute here takes half an hour there, as it would with the settings' real times.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import httpx
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "monitoring" / "rules.yml"
PROMTOOL = shutil.which("promtool")
EVERY_S = 1.0

Series = Mapping[str, Sequence[float | None]]


@dataclass
class Recording:
    """Samples of every series that the rules use; ``None`` for a missing sample."""

    names: frozenset[str]
    samples: int = 0
    series: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, exposition: str) -> None:
        """Add a scrape; an empty one stands for a failed scrape."""
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name in self.names:
                    labels = ",".join(
                        f"{name}={json.dumps(value)}"
                        for name, value in sorted(sample.labels.items())
                    )
                    values = self.series.setdefault(f"{sample.name}{{{labels}}}", [])
                    values += [None] * (self.samples - len(values))
                    values.append(sample.value)
        self.samples += 1

    def largest(self, name: str) -> float:
        """The largest value of any series of a metric; 0 before there is one."""
        found = (
            value
            for series, values in self.series.items()
            if series.startswith(name + "{")
            for value in values
            if value is not None
        )
        return max(found, default=0.0)


def named_in_rules() -> frozenset[str]:
    """All metrics that the rules use."""
    return frozenset(re.findall(r"\brag_\w+|\binprogress_\w+", RULES.read_text("utf-8")))


@contextmanager
def recording(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path
) -> Iterator[Recording]:
    """Run the exporter, and scrape it every second until the block ends."""
    kept = Recording(named_in_rules())
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = json.loads("".join(_first_document(process.stdout)))["url"]
        over = Event()
        thread = Thread(target=_scrape, args=(url, kept, over), daemon=True)
        thread.start()
        try:
            yield kept
        finally:
            over.set()
            thread.join()
            process.terminate()


def _first_document(lines: Iterable[str]) -> Iterator[str]:
    """Up to the line that ends it; all there is where the program ends before."""
    for line in lines:
        yield line
        if line.rstrip() == "}":
            return


def _scrape(url: str, kept: Recording, over: Event) -> None:
    with httpx.Client(trust_env=False, timeout=10) as client:
        due = time.monotonic()
        while not over.is_set():
            try:
                kept.add(client.get(url).raise_for_status().text)
            except httpx.HTTPError:
                kept.add("")
            due += EVERY_S
            while due < time.monotonic():  # a scrape that took long: the ones missed are missing
                kept.add("")
                due += EVERY_S
            over.wait(max(0.0, due - time.monotonic()))


def fired(kept: Series, samples: int, *, step_s: int) -> set[str]:
    """The alerts that fire at any time, by Prometheus itself.

    :param step_s: how far apart the samples are taken to be.
    """
    assert PROMTOOL is not None
    names = re.findall(r"- alert: (\w+)", RULES.read_text("utf-8"))
    end = f"{samples * step_s}s"
    tests = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{step_s}s",
        "tests": [
            {
                "interval": f"{step_s}s",
                "input_series": [
                    {"series": _stretched(series, step_s), "values": " ".join(map(_shown, values))}
                    for series, values in kept.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": f'count(last_over_time(ALERTS{{alertname="{name}",'
                        f'alertstate="firing"}}[{end}]))',
                        "eval_time": end,
                        "exp_samples": [],
                    }
                    for name in names
                ],
            }
        ],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump(tests, file)  # JSON is YAML
        file.flush()
        done = subprocess.run(
            [PROMTOOL, "test", "rules", file.name], capture_output=True, text=True, check=False
        )
    told = done.stdout + done.stderr
    # Each expression is expected to be empty: those that are not are told with their names.
    found = set(re.findall(r'alertname=\\?"(\w+)\\?"', told))
    assert found or done.returncode == 0, told
    return found & set(names)


def _stretched(series: str, step_s: int) -> str:
    """Where time runs slower, what was measured took longer: the bounds of a job's duration."""
    if not series.startswith("rag_job_duration_seconds_bucket"):
        return series
    return re.sub(r'le="([\d.]+)"', lambda le: f'le="{float(le[1]) * step_s / EVERY_S}"', series)


def _shown(value: float | None) -> str:
    if value is None:
        return "_"
    if math.isinf(value) or math.isnan(value):
        return "_"
    return repr(value)
