"""E-mail: every text part in order, what is forwarded, what is attached, mailboxes."""

from __future__ import annotations

from base64 import encodebytes
from collections.abc import Callable
from email.message import EmailMessage
from quopri import encodestring

import pytest

from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.model import ChunkedDocument
from rag_assets.errors import CorruptDocumentError
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS
from rag_assets_tests.documents.formats.test_book import book, damaged


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


def test_a_sentence_of_a_mailbox_is_no_postmark() -> None:
    rules = (
        b"\nFrom Monday on, this applies to all:\nFirst: no dogs.\n\nFrom ana@example.org\nTo: x\n"
    )
    whole = text(MAILBOX.replace(b"Second.\n", b"Second.\n" + rules), "a.mbox")
    wanted = "Second.\n\nFrom Monday on, this applies to all:\nFirst: no dogs."
    assert whole.endswith(f"{wanted}\n\nFrom ana@example.org\nTo: x")


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\n", b"\r\n\n"])
def test_what_precedes_the_first_postmark_costs_no_message(before: bytes) -> None:
    assert text(before + MAILBOX, "a.mbox") == text(MAILBOX, "a.mbox")
    first, _, _ = MAILBOX.partition(b"\n\nFrom rui")
    assert text(before + first, "a.mbox").startswith("Reunião")


def test_a_message_behind_a_byte_order_mark_keeps_its_headers() -> None:
    raw = b"From: ana@example.org\nSubject: A subject\nTo: x\n\nWords."
    assert text(b"\xef\xbb\xbf" + raw) == text(raw)


def test_messages_of_a_mailbox_need_no_blank_line_between_them() -> None:
    assert text(MAILBOX.replace(b"\n\nFrom rui", b"\nFrom rui"), "a.mbox") == text(
        MAILBOX, "a.mbox"
    )


def encoded(encoder: Callable[[bytes], bytes], name: str, subtype: str = "rfc822") -> bytes:
    inner = "From: rui@example.org\nSubject: Inner subject\n\nRivers, ação.\n".encode()
    return (
        b"From: ana@example.org\nSubject: Outer\nContent-Type: multipart/mixed; boundary=B\n\n"
        b"--B\nContent-Type: message/%b\nContent-Transfer-Encoding: %b\n\n%b\n--B--\n"
        % (subtype.encode(), name.encode(), encoder(inner))
    )


@pytest.mark.parametrize("subtype", ["rfc822", "global"])
@pytest.mark.parametrize(
    ("encoder", "name"),
    [(encodebytes, "base64"), (encodestring, "quoted-printable"), (bytes, "8bit")],
)
def test_a_forwarded_message_is_decoded(
    encoder: Callable[[bytes], bytes], name: str, subtype: str
) -> None:
    whole = text(encoded(encoder, name, subtype))
    assert whole.endswith("Inner subject\n\nFrom: rui@example.org\n\nRivers, ação.")


def test_a_forwarded_message_whose_encoding_is_damaged_is_reported() -> None:
    document = read(encoded(lambda _: b"AAAAA", "base64"))
    (remark,) = document.remarks
    assert (remark.kind, remark.what) == ("lost", "forwarded message with damaged encoding")


@pytest.mark.parametrize("plain", ["\u200b\u034f\u200c", "[cid:image001.png@01D]", "\u2800\u3164"])
def test_html_is_read_where_the_plain_part_shows_nothing(plain: str) -> None:
    made = mixed(part(plain), part("<p>The words.</p>", "html"), kind="alternative")
    assert text(made).endswith("The words.")


def test_a_longer_form_that_is_not_read_is_reported() -> None:
    page = part(f"<p>{'The long text. ' * 20}</p>", "html")
    (remark,) = read(mixed(part("See the page."), page, kind="alternative")).remarks
    assert remark.examples == ("text/html: 60 words, read: 3",)
    page = part("<p>See the page, please.</p>", "html")
    assert read(mixed(part("See the page."), page, kind="alternative")).remarks == ()


def test_text_before_and_after_the_parts_is_reported() -> None:
    raw = (
        b"From: a@example.org\nSubject: x\nContent-Type: multipart/mixed; boundary=B\n\n%b\n"
        b"--B\nContent-Type: text/plain\n\nWords.\n--B--\nFooter of the list.\n"
    )
    (remark,) = read(raw % b"Words before.").remarks
    assert remark.examples == ("Words before.", "Footer of the list.")
    (remark,) = read(raw % b"This is a multi-part message in MIME format.").remarks
    assert remark.examples == ("Footer of the list.",)


def test_an_attachment_that_breaks_its_reader_costs_the_message_nothing() -> None:
    made = message()
    made.set_content("The message.")
    broken = book({"a": "one"}, ["a"], {"one": "Words. " * 50})
    made.add_attachment(damaged(broken, b"Books/one"), maintype="application",
                        subtype="epub+zip", filename="a.epub")  # fmt: skip
    document = read(made)
    assert document.chunks[0].text.endswith("The message.")
    (remark,) = document.remarks
    assert remark.kind == "lost"
    assert remark.examples[0].startswith("a.epub: ")


def test_messages_attached_to_messages_have_a_depth() -> None:
    content = b"From: a@example.org\nSubject: Innermost\n\nDeep.\n"
    for number in range(400):
        content = (
            b"From: a@example.org\nSubject: x\nContent-Type: multipart/mixed; boundary=B%d\n\n"
            b"--B%d\nContent-Type: application/octet-stream\n"
            b"Content-Disposition: attachment; filename=m.eml\n\n%b\n--B%d--\n"
        ) % (number, number, content, number)
    document = read(content)
    assert {(remark.kind, remark.what) for remark in document.remarks} == {
        ("lost", "part of a message nested more than 30 deep")
    }


def test_a_message_nested_beyond_what_can_be_parsed_is_a_fault_of_the_document() -> None:
    head = b"From: a@example.org\nSubject: x\nContent-Type: message/rfc822\n\n"
    with pytest.raises(CorruptDocumentError, match="nested too deeply"):
        read(head * 3000 + b"From: a@example.org\n\nDeep.")
