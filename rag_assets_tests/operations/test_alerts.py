"""The alerts and dashboards: they fire, stay quiet, link to a runbook, and use existing metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from rag_assets.api.metrics import ApiMetrics
from rag_assets.cli.main import app
from rag_assets.operations.alerting import WATCHDOG
from rag_assets.operations.exporter import exporting
from rag_assets.operations.survey import COMPLETED
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.api.conftest import corpus_settings
from rag_assets_tests.operations.filled import metrics_of
from rag_assets_tests.operations.promql import (
    DASHBOARDS,
    MONITORING,
    ROOT,
    RULES,
    TESTS,
    Expression,
    alerts,
    dashboards,
    expressions,
    recorded,
    rules,
)

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not here: it comes with Debian's package prometheus"
)
THEIRS = {"up", "alertmanager_notifications_failed_total"}
"""Series of Prometheus itself, and of Alertmanager."""
LETTER_FOR_LETTER = {
    "RAGQueueStagnation": ("5m", "critical"),
    "NoActiveRAGWorkers": ("2m", "warning"),
    "RAGProcessingTimeHigh": ("10m", "warning"),
    "RAGSuccessRateLow": ("15m", "warning"),
}


def promtool(*arguments: str) -> None:
    """Run promtool, which must succeed."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_recovery_agree_on_stagnation_and_idle_documents() -> None:
    known = {one["alert"]: str(one["expr"]) for one in rules() if "alert" in one}
    stagnation, settings = known["RAGQueueStagnation"], Settings.model_construct()
    assert f"rag_queue_length) > {settings.rag_stagnation_queue}\n" in stagnation
    assert f'status=~"{"|".join(COMPLETED)}"' in stagnation
    assert f"[{settings.rag_stagnation_s / 60:.0f}m]" in stagnation
    assert "rag_queue_due" in known["NoActiveRAGWorkers"], "claimable, as the rule documents-idle"


@needs_promtool
def test_the_rules_and_the_configuration_are_valid() -> None:
    promtool("check", "rules", str(RULES))
    promtool("check", "config", str(MONITORING / "prometheus.yml"))


@needs_promtool
@pytest.mark.parametrize("file", TESTS, ids=lambda path: str(path.stem))
def test_the_alerts_pass_their_promtool_tests(file: Path) -> None:
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("name", alerts())
def test_each_alert_is_tested_both_firing_and_quiet(name: str) -> None:
    cases = [
        case
        for file in TESTS
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == name
    ]
    assert any(case["exp_alerts"] for case in cases), "nowhere does it fire"
    quiet = any(not case["exp_alerts"] for case in cases)
    assert quiet == (name != WATCHDOG), "nowhere is it quiet"


@pytest.mark.parametrize("name", alerts())
def test_each_alert_has_a_severity_and_a_runbook(name: str) -> None:
    alert = alerts()[name]
    severities = ("none",) if name == WATCHDOG else ("critical", "warning")
    assert alert["labels"]["severity"] in severities
    assert alert["annotations"]["summary"]
    document, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert anchor == name.lower()
    text = (ROOT / document).read_text("utf-8")
    (section,) = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    first = section.partition("\n```\n")[2].partition("\n")[0]
    assert alert["annotations"]["first_command"] == first


def test_the_document_describes_no_removed_alert() -> None:
    text = (ROOT / "docs/operations/alerts.md").read_text("utf-8")
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == [*alerts()]


def test_every_section_begins_with_a_command_and_leads_on() -> None:
    text = (ROOT / "docs/operations/alerts.md").read_text("utf-8")
    for section in text.split("\n### ")[1:]:
        assert re.search(r"^```\n(rag-assets|curl) .*\n```$", section, re.MULTILINE), section
        assert "Go on:" in section


def test_the_commands_of_the_document_exist() -> None:
    text = (ROOT / "docs/operations/alerts.md").read_text("utf-8")
    commands = set(re.findall(r"^rag-assets ((?:[a-z]+(?:-[a-z]+)* ?)+)", text, re.MULTILINE))
    assert {"doctor", "documents dlq", "release gate"} <= commands
    for command in commands:
        told = CliRunner().invoke(app, [*command.split(), "--help"])
        assert told.exit_code == 0, f"rag-assets {command}: {told.output}"


def test_every_link_of_the_document_leads_to_a_heading() -> None:
    folder = ROOT / "docs/operations"
    text = (folder / "alerts.md").read_text("utf-8")
    for document, anchor in re.findall(r"\]\(([\w./-]+)#([^)]+)\)", text):
        headings = re.findall(r"^#+ (.*)$", (folder / document).read_text("utf-8"), re.MULTILINE)
        anchors = {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
        }
        assert anchor in anchors, f"{document}#{anchor}"


@pytest.mark.parametrize("name", LETTER_FOR_LETTER)
def test_the_runbooks_alerts_keep_their_time_and_severity(name: str) -> None:
    alert = alerts()[name]
    assert (alert["for"], alert["labels"]["severity"]) == LETTER_FOR_LETTER[name]


@pytest.fixture(scope="session")
def exported(filled: Database) -> frozenset[str]:
    """The names of all series that a real scrape of a filled corpus or the API exports."""
    metrics = metrics_of(corpus_settings(filled), filled)
    with exporting(metrics, host="127.0.0.1", port=0) as url:
        text = httpx.get(url, trust_env=False).text
    scraped = re.findall(r"^(\w+)[{ ]", text, re.MULTILINE)
    types = re.findall(r"# TYPE (\w+) (\w+)", ApiMetrics().exposition().decode())
    own = [
        name + suffix
        for name, kind in types
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    ]
    return frozenset((*scraped, *own))


@pytest.mark.parametrize("expression", expressions(), ids=lambda expression: expression.where)
def test_an_expression_names_only_what_is_exported(
    expression: Expression, exported: frozenset[str]
) -> None:
    assert bool(expression.metrics) == (expression.where != WATCHDOG), "it names nothing"
    assert expression.metrics - exported - recorded() - THEIRS == set()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('sum by (x) (rate(a_total{x=~"y|z",b="c"}[5m])) / on (x) b:c > 1', {"a_total", "b:c"}),
        ("max(a) > on () group_left () max(b) and absent(c) or vector(0)", {"a", "b", "c"}),
        ("histogram_quantile(0.95, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
        ("1 - a offset 1h", {"a"}),
    ],
)  # fmt: skip
def test_metric_names_are_distinguished_from_functions_labels_and_words(
    text: str, names: set[str]
) -> None:
    assert Expression("here", text).metrics == names


def test_recorded_series_are_made_before_they_are_used() -> None:
    made: set[str] = set()
    for rule in rules():
        used = Expression("rule", rule["expr"]).metrics & recorded()
        assert used <= made, rule
        made.add(rule.get("record", ""))


def as_help(what: str) -> str:
    """A line of the document as a metric's help: a sentence, without links and code type."""
    told = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", what).replace("`", "")
    return f"{told[0].upper()}{told[1:]}."


def test_the_metrics_document_lists_each_metric_with_type_labels_and_help(filled: Database) -> None:
    documented = {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)), as_help(what))
        for name, kind, labels, what in re.findall(
            r"^\| `(\w+)` \| (gauge|counter|histogram) \| (.*?) \| (.*) \|$",
            (ROOT / "docs/operations/metrics.md").read_text("utf-8"),
            re.MULTILINE,
        )
    }
    found = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            frozenset(name for sample in family.samples for name in sample.labels) - {"le"},
            family.documentation,
        )
        for family in metrics_of(corpus_settings(filled), filled).collect()
    }
    assert documented == found


@needs_promtool
def test_the_dashboards_expressions_are_valid(tmp_path: Path) -> None:
    file = tmp_path / "dashboards.yml"
    plain = [
        expression.text.replace("$__rate_interval", "5m")
        for expression in expressions()
        if ".json" in expression.where
    ]
    made = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(plain)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": made}]}))
    promtool("check", "rules", str(file))


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_can_be_provisioned(name: str) -> None:
    dashboard = dashboards()[name]
    (source,) = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8")
    )["datasources"]
    panels = dashboard["panels"]
    assert f"{dashboard['uid']}.json" == name
    assert "id" not in dashboard
    chosen, *others = dashboard["templating"]["list"]
    assert (chosen["name"], chosen["type"], chosen["query"]) == (
        "datasource",
        "datasource",
        source["type"],
    )
    assert chosen["current"] == {"text": source["name"], "value": source["uid"]}
    assert all(variable["datasource"]["uid"] == "${datasource}" for variable in others)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(
            part["datasource"] == {"type": source["type"], "uid": "${datasource}"}
            for part in (panel, *panel["targets"])
        )
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells


def test_there_is_a_dashboard_for_each_part() -> None:
    assert [path.stem for path in DASHBOARDS] == [
        "rag-embedding",
        "rag-index",
        "rag-queue",
        "rag-retrieval",
    ]
    assert len({dashboard["title"] for dashboard in dashboards().values()}) == 4
