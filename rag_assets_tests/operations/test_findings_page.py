"""The page of findings matches the rules."""

from __future__ import annotations

from rag_assets.operations.diagnosis import RULES
from rag_assets_tests.operations.findings_page import PAGE, PARTS, page


def test_the_page_matches_the_rules() -> None:
    anew = "run `python -m rag_assets_tests.operations.findings_page`"
    assert PAGE.read_text("utf-8") == page(), anew


def test_every_rule_is_explained_once() -> None:
    assert sorted(rule.name for _, rules in PARTS for rule in rules) == sorted(
        rule.name for rule in RULES
    )
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.condition and rule.evidence and rule.fix for rule in RULES)
