"""The page of findings, from the list of rules.

python -m rag_assets_tests.operations.findings_page     rewrites docs/operations/findings.md
"""

from __future__ import annotations

from pathlib import Path

from rag_assets.operations.corpus_rules import CORPUS_RULES
from rag_assets.operations.dependency_rules import DEPENDENCY_RULES
from rag_assets.operations.diagnosis import RULES
from rag_assets.operations.findings import Rule
from rag_assets.operations.queue_rules import QUEUE_RULES

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "findings.md"
HEAD = """# Findings

Everything that `rag-assets doctor` can report and that the recovery acts on. For operators who want
to know why a line appears, or what is done about it. Both apply this list of rules to a snapshot of
the system: the doctor to a single snapshot, the recovery every 30 seconds, together with what it
remembers of earlier ones ([recovery](recovery.md)). This page is generated from the list.

The doctor shows a finding as `problem`, `warning` or `information`, with the command that fixes it.
For example:

```
rag-assets doctor
```

Each action of the recovery is bounded, and recorded in `recovery_actions`.
"""
PARTS = (
    ("Dependencies, pauses and the provider", DEPENDENCY_RULES),
    ("The queue and its runs", QUEUE_RULES),
    ("What is stored, indexed and released", CORPUS_RULES),
    ("The recovery itself", RULES[-1:]),
)


def page() -> str:
    """The whole page, as Markdown."""
    return HEAD + "".join(_part(title, rules) for title, rules in PARTS)


def _part(title: str, rules: tuple[Rule, ...]) -> str:
    return f"\n## {title}\n" + "".join(map(_explained, rules))


def _explained(rule: Rule) -> str:
    lines = [f"\n### {rule.name}\n", rule.condition, "", f"- Evidence: {rule.evidence}."]
    lines.append(f"- Fix: {rule.fix}.")
    if rule.over_time:
        lines.append("- Reported by the recovery only: a single snapshot does not show it.")
    if rule.action:
        lines.append(f"- Recovery: {rule.action}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
