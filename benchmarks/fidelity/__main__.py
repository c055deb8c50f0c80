"""Every format read twice, by the package and by another library, and the words compared.

    python -m benchmarks.fidelity            the documents of ../shared/data where it is present
    python -m benchmarks.fidelity --smoke    the project's samples
    python -m benchmarks.fidelity --words    and each word that is missing, garbled or glued

It ends with status 1 where a bound is not kept: word coverage 0.995, of PDF 0.99; one glued word in
10,000; no heading that is an address, a note or a bare number; 0.98 of passages on their pages.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.fidelity.corpus import made_documents, real_documents
from benchmarks.fidelity.measure import Fidelity, measured
from benchmarks.index.bench import Report, show

COVERAGE, PDF_COVERAGE = 0.995, 0.99
GLUED, RIGHT_PAGES = 1 / 10_000, 0.98


def failures(name: str, found: Sequence[Fidelity]) -> list[str]:
    """Which bounds the documents of one format do not keep."""
    total = sum(one.words for one in found)
    missing = sum(sum(one.missing.values()) for one in found)
    pages = sum(one.pages for one in found)
    judged = {
        "word coverage": 1 - missing / max(1, total)
        >= (PDF_COVERAGE if name == "pdf" else COVERAGE),
        "glued words": sum(len(one.glued) for one in found) <= max(0, total * GLUED),
        "headings": not any(one.false_headings for one in found),
        "pages": sum(one.right_pages for one in found) >= RIGHT_PAGES * pages,
    }
    return [f"{name}: {what}" for what, kept in judged.items() if not kept]


def _row(name: str, found: Sequence[Fidelity]) -> tuple[str, ...]:
    total = max(1, sum(one.words for one in found))
    pages = sum(one.pages for one in found)
    return (
        name,
        str(len(found)),
        f"{total:,}",
        f"{sum(one.found for one in found) / total:.4f}",
        f"{sum(one.left_out for one in found):,}",
        f"{sum(len(one.garbled) for one in found):,}",
        f"{1 - sum(sum(one.missing.values()) for one in found) / total:.4f}",
        f"{sum(one.in_order * one.words for one in found) / total:.4f}",
        str(sum(len(one.glued) for one in found)),
        f"{sum(one.headings for one in found):,}",
        str(sum(len(one.false_headings) for one in found)),
        f"{sum(one.right_pages for one in found) / pages:.3f}" if pages else "",
    )


def _show_words(one: Fidelity) -> None:
    lists = (("missing", one.missing), ("garbled by the reference", Counter(one.garbled)))
    for what, counted in lists:
        if counted:
            shown = ", ".join(f"{word} {count}" for word, count in counted.most_common(200))
            print(f"{one.name}: {what}: {shown}")
    for what, listed in (("glued", one.glued), ("false headings", one.false_headings)):
        if listed:
            print(f"{one.name}: {what}: {', '.join(listed)}")


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="the project's samples")
    options.add_argument("--words", action="store_true", help="list words")
    chosen = options.parse_args()
    by_format: dict[str, list[Fidelity]] = defaultdict(list)
    for documents in (real_documents, made_documents):
        for name, content in documents(smoke=chosen.smoke):
            one = measured(content, name)
            by_format[one.format].append(one)
            if chosen.words:
                _show_words(one)
    show(
        Report(
            "fidelity: the package's reading against another library's",
            ("format", "documents", "words", "found", "left out", "garbled", "coverage",
             "in order", "glued", "headings", "false", "pages"),
            [_row(name, found) for name, found in by_format.items()],
        )
    )  # fmt: skip
    failed = [line for name, found in by_format.items() for line in failures(name, found)]
    for line in failed:
        print(f"not kept: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
