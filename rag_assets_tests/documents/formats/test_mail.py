"""E-mail: every text part in order, what is forwarded, what is attached, mailboxes."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.model import ChunkedDocument
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS


def message(subject: str = "A subject") -> EmailMessage:
    made = EmailMessage()
    made["From"] = "ana@example.org"
    made["To"] = "rui@example.org"
    made["Subject"] = subject
    return made


def part(text: str, subtype: str = "plain") -> EmailMessage:
    made = EmailMessage()
    made.set_content(text, subtype=subtype)
    return made


def mixed(*parts: EmailMessage, kind: str = "mixed") -> EmailMessage:
    made = message()
    made["Content-Type"] = f"multipart/{kind}"
    for one in parts:
        made.attach(one)
    return made


def read(content: EmailMessage | bytes, name: str = "a.eml") -> ChunkedDocument:
    return read_document(bytes(content), name, LIMITS)


def text(content: EmailMessage | bytes, name: str = "a.eml") -> str:
    return "\n".join(chunk.text for chunk in read(content, name).chunks)


def test_every_text_part_is_read_in_order() -> None:
    made = mixed(part("First."), part("<p>Second, <b>bold</b>.</p>", "html"), part("Third."))
    assert text(made).endswith("First.\n\nSecond, bold.\n\nThird.")


@pytest.mark.parametrize("plain", ["", " \n\u00a0\n"], ids=["nothing", "blanks"])
def test_html_is_read_where_the_plain_part_is_blank(plain: str) -> None:
    made = mixed(part(plain), part("<p>The words.</p>", "html"), kind="alternative")
    assert text(made).endswith("The words.")


def test_of_two_forms_of_one_text_one_is_read() -> None:
    made = mixed(part("<p>The words.</p>", "html"), part("The words."), kind="alternative")
    assert text(made).count("The words.") == 1


def test_a_forwarded_message_has_its_subject_and_text_below_the_other() -> None:
    inner = message("Inner subject")
    inner.set_content("Inner text.")
    inner.add_attachment("Notes inside.", filename="notes.txt")
    outer = message()
    outer.set_content("See below.")
    outer.add_attachment(inner)
    whole = text(outer)
    wanted = ["A subject", "See below.", "Inner subject", "Inner text.", "Notes inside."]
    assert [whole.index(one) for one in wanted] == sorted(whole.index(one) for one in wanted)


def test_an_attachment_is_named_and_read_where_its_format_is() -> None:
    made = message()
    made.set_content("See attached.")
    made.add_attachment(
        office.docx([(1, "Report"), (0, "Words of the report.")]),
        maintype="application",
        subtype="octet-stream",
        filename="report.docx",
    )
    made.add_attachment(b"\x89PNG\r\n\x1a\n" + bytes(50), maintype="image", subtype="png",
                        filename="logo.png")  # fmt: skip
    made.add_attachment(office.docx([(0, "x")])[:300], maintype="application",
                        subtype="octet-stream", filename="cut.docx")  # fmt: skip
    document = read(made)
    whole = "\n".join(chunk.text for chunk in document.chunks)
    assert "Attached: report.docx, logo.png, cut.docx" in whole
    assert whole.endswith("report.docx\n\nReport\n\nWords of the report.")
    left_out, lost = document.remarks
    assert (left_out.kind, left_out.examples) == ("left_out", ("logo.png",))
    assert lost.kind == "lost"
    assert lost.examples[0].startswith("cut.docx: its archive is cut off")


def test_a_text_that_is_attached_is_an_attachment_and_no_part_of_the_message() -> None:
    made = message()
    made.set_content("The message.")
    made.add_attachment("The notes.", filename="notes.txt")
    assert text(made).endswith("Attached: notes.txt\n\nThe message.\n\nnotes.txt\n\nThe notes.")


def test_a_signature_is_left_out_and_reported() -> None:
    signature = EmailMessage()
    signature.set_content(b"\x30\x82", maintype="application", subtype="pkcs7-signature")
    document = read(mixed(part("Signed."), signature, kind="signed"))
    assert document.chunks[0].text.endswith("Signed.")
    assert [remark.what for remark in document.remarks] == ["signature or delivery status"]


def test_a_part_in_a_declared_encoding_with_a_broken_byte() -> None:
    raw = (
        b"From: a@example.org\nTo: b@example.org\nSubject: x\n"
        b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"
        + "Não há mais; são três".encode()
        + b" \x93aspas\x94"
    )
    assert text(raw).endswith("Não há mais; são três “aspas”")


def test_headers_that_no_parser_likes_cost_nothing_else() -> None:
    raw = b"From: <<<@@>>,,;:\nTo: =?utf-8?q?=FF?= <\nSubject: =?x?z?y?=\nDate: never\n\nThe text."
    assert "The text." in text(raw)


def test_parts_nested_too_deeply_are_reported() -> None:
    made = part("Deep.")
    for _ in range(40):
        made = mixed(made)
    document = read(made)
    assert [remark.kind for remark in document.remarks] == ["lost"]


MAILBOX = (
    b"From ana@example.org Mon Jan  1 10:00:00 2024\nFrom: ana@example.org\n"
    b"Subject: =?utf-8?q?Reuni=C3=A3o?=\nContent-Transfer-Encoding: quoted-printable\n\n"
    b"Ol=C3=A1.\n>From here on it is quoted.\n\nFrom time to time a line begins so.\n\n"
    b"From rui@example.org Tue Jan  2 10:00:00 2024\nFrom: rui@example.org\nTo: x\n\nSecond.\n"
)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_a_mailbox_is_read_message_by_message(ends: bytes) -> None:
    document = read(MAILBOX.replace(b"\n", ends), "2024/archive.mbox")
    assert (document.media_type, document.title) == ("application/mbox", "archive")
    whole = "\n".join(chunk.text for chunk in document.chunks)
    assert whole == (
        "Reunião\n\nFrom: ana@example.org\n\nOlá.\nFrom here on it is quoted.\n\n"
        "From time to time a line begins so.\n\n"
        "Message 2\n\nFrom: rui@example.org\nTo: x\n\nSecond."
    )
