"""The verdict of the gate as JUnit XML, for release pipelines."""

from __future__ import annotations

from xml.etree import ElementTree

from rag_assets.index.checks import CHUNK_INDEX_CHECKS, INDEX_CHECKS
from rag_assets.release.evidence import Evidence
from rag_assets.release.gate import GateVerdict
from rag_assets.release.reasons import DOCUMENTS_INDEX, INDEX
from rag_assets.release.refusal import command_of
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.tables import DOCUMENTS


def junit_xml(evidence: Evidence, verdict: GateVerdict) -> str:
    """One test suite per version, document corpus and index; one test case per check.

    What is left out of the release is marked as skipped, with the reason.
    """
    cases = {INDEX: ["decision", *INDEX_CHECKS]}
    cases |= {version.code: list(QUALITY_CHECKS) for version in evidence.versions}
    if evidence.documents is not None:
        cases |= {corpus: list(QUALITY_CHECKS) for corpus in evidence.documents.corpora}
        cases[DOCUMENTS_INDEX] = ["decision", *CHUNK_INDEX_CHECKS]
    for reason in verdict.reasons:
        known = cases.setdefault(reason.subject, [])
        if reason.check not in known:
            known.append(reason.check)
    root = ElementTree.Element("testsuites", name="release gate")
    for subject, checks in cases.items():
        suite = ElementTree.SubElement(root, "testsuite", name=subject, tests=str(len(checks)))
        failed = 0
        for check in checks:
            case = ElementTree.SubElement(suite, "testcase", classname=subject, name=check)
            against = [
                reason
                for reason in verdict.reasons
                if (reason.subject, reason.check) == (subject, check)
            ]
            if against:
                failed += 1
                sentences = [reason.sentence for reason in against]
                message = f"{'; '.join(sentences)}: {command_of(against[0])}"
                ElementTree.SubElement(case, "failure", message=message, type=against[0].kind)
            elif skipped := verdict.left_out.get(
                DOCUMENTS if subject == DOCUMENTS_INDEX else subject
            ):
                ElementTree.SubElement(case, "skipped", message=skipped)
        suite.set("failures", str(failed))
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
