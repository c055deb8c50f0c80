"""Collections with judged queries, in the formats of BEIR and of TREC.

==============  ==================================  ==============================================
                BEIR                                TREC
==============  ==================================  ==============================================
documents       ``corpus.jsonl``                    ``*.trec``, ``*.sgml``: ``<DOC>``, ``<DOCNO>``
queries         ``queries.jsonl``                   ``topics*``: ``<top>`` or ``id<TAB>text``
judgments       ``qrels/SPLIT.tsv``                 ``qrels*``: query, iteration, document, grade
==============  ==================================  ==============================================
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rag_assets.errors import ConfigurationError

_DOC = re.compile(r"<DOC>(.*?)</DOC>", re.DOTALL | re.IGNORECASE)
_DOCNO = re.compile(r"<DOCNO>(.*?)</DOCNO>", re.DOTALL | re.IGNORECASE)
_TOP = re.compile(r"<top>(.*?)</top>", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(num|title)>(.*?)(?=<|\Z)", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"^\s*(number|topic)\s*:", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9]+([._-]?[A-Za-z0-9]+)*")
"""Ids that a document's key leaves as they are."""
_LONGEST = 100
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


@dataclass(frozen=True)
class JudgedQuery:
    """A query with the grades of its documents; above 0 is relevant."""

    id: str
    text: str
    grades: Mapping[str, int]


def read_judged(folder: Path, split: str) -> tuple[JudgedQuery, ...]:
    """The queries of a collection that have a relevant document.

    :param split: of BEIR's judgments: ``qrels/SPLIT.tsv``.
    :raises ConfigurationError: a file is missing or wrong, or no query is judged.
    """
    _check_folder(folder)
    grades: dict[str, dict[str, int]] = {}
    for query, document, grade in _judgments(_judgment_file(folder, split)):
        grades.setdefault(query, {})[document] = grade
    judged = tuple(
        JudgedQuery(key, text, grades[key])
        for key, text in _queries(folder)
        if any(grade > 0 for grade in grades.get(key, {}).values())
    )
    if not judged:
        raise ConfigurationError(
            f"{folder}: no query has a relevant document: the ids in the queries and in the "
            "judgments differ"
        )
    return judged


def write_documents(folder: Path, into: Path) -> int:
    """Write each document of a collection as a Markdown file named by its id; return their number.

    :raises ConfigurationError: there are no documents, or one cannot be read or written.
    """
    _check_folder(folder)
    count = 0
    try:
        into.mkdir(parents=True, exist_ok=True)
        for key, title, text in _documents(folder):
            heading = f"# {title}\n\n" if title else ""
            (into / file_name(key)).write_text(f"{heading}{text}\n", encoding="utf-8")
            count += 1
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from None
    if not count:
        raise ConfigurationError(f"{folder} has no documents: corpus.jsonl, *.trec or *.sgml")
    return count


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}")


def file_name(key: str) -> str:
    """The name of a document's file, and its key in the inbox: its id where that can be one."""
    if len(key) <= _LONGEST and _PLAIN.fullmatch(key):
        return f"{key}.md"
    return f"document-{hashlib.sha256(key.encode()).hexdigest()[:16]}.md"


def named_by_id(queries: Iterable[JudgedQuery]) -> Callable[[str], str]:
    """Return a function from a document's key to its id, for judged documents.

    The files may lie in a folder of the inbox. Other documents keep their keys.
    """
    ids = {file_name(key): key for query in queries for key in query.grades}

    def named(key: str) -> str:
        name = key
        while name not in ids and "__" in name:
            name = name.partition("__")[2]
        return ids.get(name, key)

    return named


def _documents(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Id, title and text."""
    if (folder / "corpus.jsonl").is_file():
        for where, entry in _json_lines(folder / "corpus.jsonl"):
            yield _text(where, entry, "_id"), str(entry.get("title") or ""), _text(where, entry)
    for path in sorted({*folder.glob("*.trec"), *folder.glob("*.sgml")}):
        for place, found in enumerate(_DOC.findall(_read(path)), start=1):
            number = _DOCNO.search(found)
            if number is None:
                raise ConfigurationError(f"{path}: document {place} has no <DOCNO>")
            yield number[1].strip(), "", _TAG.sub(" ", _DOCNO.sub("", found)).strip()


def _queries(folder: Path) -> Iterator[tuple[str, str]]:
    if (folder / "queries.jsonl").is_file():
        for where, entry in _json_lines(folder / "queries.jsonl"):
            yield _text(where, entry, "_id"), _text(where, entry)
        return
    paths = sorted({*folder.glob("topics*"), *folder.glob("queries*.tsv")})
    if not paths:
        raise ConfigurationError(f"{folder} has no queries: queries.jsonl, queries.tsv or topics*")
    for path in paths:
        content = _read(path)
        topics = _TOP.findall(content)
        if topics:
            for topic in topics:
                fields = {name.lower(): text for name, text in _FIELD.findall(topic)}
                if not fields.keys() >= {"num", "title"}:
                    raise ConfigurationError(f"{path}: a <top> has no <num> or no <title>")
                number, title = (
                    " ".join(_LABEL.sub("", fields[name]).split()) for name in ("num", "title")
                )
                yield number, title
            continue
        for place, line in enumerate(content.split("\n"), start=1):
            key, tab, text = line.partition("\t")
            if line.strip() and not (tab and text.strip()):
                raise ConfigurationError(f"{path}: line {place} is not an id, a tab and a query")
            if line.strip():
                yield key.strip(), text.strip()


def _judgment_file(folder: Path, split: str) -> Path:
    if (folder / "qrels").is_dir():
        found = folder / "qrels" / f"{split}.tsv"
        if not found.is_file():
            splits = sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))
            raise ConfigurationError(
                f"{folder} has no judgments of {split!r}: --split is one of {', '.join(splits)}"
            )
        return found
    paths = sorted(path for path in folder.glob("qrels*") if path.is_file())
    if len(paths) != 1:
        raise ConfigurationError(
            f"{folder} has {len(paths)} files of judgments: it needs qrels/{split}.tsv, or one "
            "file qrels*"
        )
    return paths[0]


def _judgments(path: Path) -> Iterator[tuple[str, str, int]]:
    """Query, document, grade: three columns with a title line, or TREC's four."""
    for place, line in enumerate(_read(path).split("\n"), start=1):
        columns = line.strip().split("\t") if "\t" in line else line.split()
        if not columns or (place == 1 and columns[0] == "query-id"):
            continue
        try:
            query, *between, document, grade = columns
            if len(between) > 1:
                raise ValueError(len(columns))
            yield query, document, int(grade)
        except ValueError:
            raise ConfigurationError(
                f"{path}: line {place} is not a query, a document and a grade"
            ) from None


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    for place, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {place}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{where} is not JSON: {error}") from None
        if not isinstance(entry, dict):
            raise ConfigurationError(f"{where} is not an object")
        yield where, entry


def _text(where: str, entry: Mapping[str, object], field: str = "text") -> str:
    found = entry.get(field)
    if not isinstance(found, str) or (field == "_id" and not found):
        raise ConfigurationError(f"{where} has no {field}")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: {error}") from None
