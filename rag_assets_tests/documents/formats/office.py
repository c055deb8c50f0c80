"""Small files of each kind, made by hand: what an office, an e-mail or a book reader writes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from xml.sax.saxutils import escape

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"

Block = tuple[int, str]
"""A heading of level 1 and on, or a paragraph at level 0."""


def zipped(
    members: Mapping[str, str | bytes], *, stored_first: bool = False, level: int = 6
) -> bytes:
    """A ZIP archive with these members; the first uncompressed where a format wants it so."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for place, (name, content) in enumerate(members.items()):
            kind = zipfile.ZIP_STORED if stored_first and place == 0 else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=kind)
    return target.getvalue()


def _types(overrides: Mapping[str, str]) -> str:
    parts = "".join(
        f'<Override PartName="{name}" ContentType="{kind}"/>' for name, kind in overrides.items()
    )
    return (
        f'<?xml version="1.0"?><Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{parts}</Types>'
    )


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    links = "".join(
        f'<Relationship Id="rId{place}" Type="{_R}/{kind}" Target="{target}"/>'
        for place, (kind, target) in enumerate(targets, start=1)
    )
    return (
        f'<?xml version="1.0"?><Relationships xmlns="{_PACKAGE}/relationships">'
        f"{links}</Relationships>"
    )


_WORD_TAB = '</w:t><w:tab/><w:t xml:space="preserve">'


def _tabbed(text: str, tab: str) -> str:
    return escape(text).replace("\t", tab)


def docx(blocks: Sequence[Block], title: str = "", markup: str = "") -> bytes:
    """A Word document with headings and paragraphs, and then what is written as ``markup``."""
    body = "".join(
        "<w:p>"
        + (f'<w:pPr><w:pStyle w:val="Heading{level}"/></w:pPr>' if level else "")
        + f'<w:r><w:t xml:space="preserve">{_tabbed(text, _WORD_TAB)}</w:t></w:r></w:p>'
        for level, text in blocks
    )
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{level}">'
        f'<w:name w:val="heading {level}"/><w:pPr><w:outlineLvl w:val="{level - 1}"/></w:pPr>'
        "</w:style>"
        for level in range(1, 4)
    )
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    return zipped(
        {
            "[Content_Types].xml": _types(
                {
                    "/word/document.xml": f"{word}.document.main+xml",
                    "/word/styles.xml": f"{word}.styles+xml",
                    "/docProps/core.xml": (
                        "application/vnd.openxmlformats-package.core-properties+xml"
                    ),
                }
            ),
            "_rels/.rels": (
                f'<?xml version="1.0"?><Relationships xmlns="{_PACKAGE}/relationships">'
                f'<Relationship Id="rId1" Type="{_R}/officeDocument" Target="word/document.xml"/>'
                f'<Relationship Id="rId2" Type="{_PACKAGE}/relationships/metadata/core-properties"'
                ' Target="docProps/core.xml"/></Relationships>'
            ),
            "docProps/core.xml": (
                '<?xml version="1.0"?><cp:coreProperties '
                f'xmlns:cp="{_PACKAGE}/metadata/core-properties" '
                f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(title)}</dc:title>'
                "</cp:coreProperties>"
            ),
            "word/document.xml": (
                f'<?xml version="1.0"?><w:document xmlns:w="{_W}"><w:body>{body}{markup}</w:body>'
                "</w:document>"
            ),
            "word/styles.xml": (
                f'<?xml version="1.0"?><w:styles xmlns:w="{_W}">{styles}</w:styles>'
            ),
            "word/_rels/document.xml.rels": _relations([("styles", "styles.xml")]),
        }
    )


def pptx(slides: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> bytes:
    """A presentation: a title and a text for each slide, the speaker's notes for the first ones."""
    point = "application/vnd.openxmlformats-officedocument.presentationml"
    names = [f"slide{place}.xml" for place in range(1, len(slides) + 1)]
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": _types(
            {
                "/ppt/presentation.xml": f"{point}.presentation.main+xml",
                **{f"/ppt/slides/{name}": f"{point}.slide+xml" for name in names},
            }
        ),
        "_rels/.rels": _relations([("officeDocument", "ppt/presentation.xml")]),
        "ppt/presentation.xml": (
            f'<?xml version="1.0"?><p:presentation xmlns:p="{_P}" xmlns:r="{_R}"><p:sldIdLst>'
            + "".join(
                f'<p:sldId id="{255 + place}" r:id="rId{place}"/>'
                for place in range(1, len(slides) + 1)
            )
            + "</p:sldIdLst></p:presentation>"
        ),
        "ppt/_rels/presentation.xml.rels": _relations(
            [("slide", f"slides/{name}") for name in names]
        ),
    }
    for name, (title, text) in zip(names, slides, strict=True):
        shapes = "".join(
            f'<p:sp><p:nvSpPr><p:cNvPr id="{place}" name="{kind}"/><p:cNvSpPr/><p:nvPr>'
            f'<p:ph type="{kind}"/></p:nvPr></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/><a:p><a:r>'
            f"<a:t>{escape(content)}</a:t></a:r></a:p></p:txBody></p:sp>"
            for place, (kind, content) in enumerate((("title", title), ("body", text)), start=2)
        )
        members[f"ppt/slides/{name}"] = (
            f'<?xml version="1.0"?><p:sld xmlns:p="{_P}" xmlns:a="{_A}"><p:cSld><p:spTree>'
            f"{shapes}</p:spTree></p:cSld></p:sld>"
        )
    for place, note in enumerate(notes, start=1):
        members[f"ppt/slides/_rels/slide{place}.xml.rels"] = _relations(
            [("notesSlide", f"../notesSlides/notesSlide{place}.xml")]
        )
        members[f"ppt/notesSlides/notesSlide{place}.xml"] = (
            f'<?xml version="1.0"?><p:notes xmlns:p="{_P}" xmlns:a="{_A}"><p:cSld><p:spTree><p:sp>'
            '<p:nvSpPr><p:cNvPr id="2" name="notes"/><p:cNvSpPr/><p:nvPr><p:ph type="body" '
            'idx="1"/></p:nvPr></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/><a:p><a:r><a:t>'
            f"{escape(note)}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:notes>"
        )
    return zipped(members)


def xlsx(sheets: Mapping[str, Sequence[Sequence[str]]]) -> bytes:
    """A workbook of texts: rows for each named sheet."""
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    names = [f"sheet{place}.xml" for place in range(1, len(sheets) + 1)]
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": _types(
            {
                "/xl/workbook.xml": f"{sheet}.sheet.main+xml",
                **{f"/xl/worksheets/{name}": f"{sheet}.worksheet+xml" for name in names},
            }
        ),
        "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": (
            f'<?xml version="1.0"?><workbook xmlns="{_S}" xmlns:r="{_R}"><sheets>'
            + "".join(
                f'<sheet name="{escape(name)}" sheetId="{place}" r:id="rId{place}"/>'
                for place, name in enumerate(sheets, start=1)
            )
            + "</sheets></workbook>"
        ),
        "xl/_rels/workbook.xml.rels": _relations(
            [("worksheet", f"worksheets/{name}") for name in names]
        ),
    }
    for name, rows in zip(names, sheets.values(), strict=True):
        cells = "".join(
            f'<row r="{line}">'
            + "".join(
                f'<c r="{chr(65 + column)}{line}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
                for column, cell in enumerate(row)
            )
            + "</row>"
            for line, row in enumerate(rows, start=1)
        )
        members[f"xl/worksheets/{name}"] = (
            f'<?xml version="1.0"?><worksheet xmlns="{_S}"><sheetData>{cells}</sheetData>'
            "</worksheet>"
        )
    return zipped(members)


def odt(blocks: Sequence[Block], title: str = "") -> bytes:
    """An OpenDocument text with headings and paragraphs."""
    office = "urn:oasis:names:tc:opendocument:xmlns"
    body = "".join(
        f'<text:h text:outline-level="{level}">{escape(text)}</text:h>'
        if level
        else f"<text:p>{_tabbed(text, '<text:tab/>')}</text:p>"
        for level, text in blocks
    )
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "META-INF/manifest.xml": (
                f'<?xml version="1.0"?><manifest:manifest xmlns:manifest="{office}:manifest:1.0">'
                '<manifest:file-entry manifest:full-path="/" '
                'manifest:media-type="application/vnd.oasis.opendocument.text"/>'
                '<manifest:file-entry manifest:full-path="content.xml" '
                'manifest:media-type="text/xml"/></manifest:manifest>'
            ),
            "content.xml": (
                f'<?xml version="1.0"?><office:document-content xmlns:office="{office}:office:1.0"'
                f' xmlns:text="{office}:text:1.0"><office:body><office:text>{body}</office:text>'
                "</office:body></office:document-content>"
            ),
            "meta.xml": (
                f'<?xml version="1.0"?><office:document-meta xmlns:office="{office}:office:1.0" '
                'xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta>'
                f"<dc:title>{escape(title)}</dc:title></office:meta></office:document-meta>"
            ),
        },
        stored_first=True,
    )


def epub(chapters: Sequence[tuple[str, str]], title: str, *, raw: bool = False) -> bytes:
    """A book: a heading and a paragraph for each chapter, which may be markup (``raw``)."""
    names = [f"chapter{place}.xhtml" for place in range(1, len(chapters) + 1)]
    items = "".join(
        f'<item id="c{place}" href="{name}" media-type="application/xhtml+xml"/>'
        for place, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{place}"/>' for place in range(len(names)))
    members: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": (
            '<?xml version="1.0"?><container version="1.0" '
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
            'full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles>'
            "</container>"
        ),
        "OEBPS/content.opf": (
            '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
            'unique-identifier="id"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f'<dc:identifier id="id">x</dc:identifier><dc:title>{escape(title)}</dc:title>'
            f"<dc:language>en</dc:language></metadata><manifest>{items}</manifest>"
            f"<spine>{spine}</spine></package>"
        ),
    }
    for name, (heading, text) in zip(names, chapters, strict=True):
        members[f"OEBPS/{name}"] = (
            '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>'
            f"{escape(heading)}</title></head><body><h1>{escape(heading)}</h1>"
            f"<p>{text if raw else escape(text)}</p></body></html>"
        )
    return zipped(members, stored_first=True)


def eml(subject: str, text: str, html: str | None = None) -> bytes:
    """An e-mail, with its text in one part or two."""
    message = EmailMessage()
    message["From"] = "Ana Souza <ana@example.org>"
    message["To"] = "Rui Costa <rui@example.org>"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    message["Subject"] = subject
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return bytes(message)


def pdf(pages: Sequence[str]) -> bytes:
    """A PDF with a line of text a page; a blank one leaves its page without any."""
    return laid_out_pdf([[(12, 72, 720, text)] if text else [] for text in pages])


def laid_out_pdf(pages: Sequence[Sequence[tuple[int, int, int, str]]]) -> bytes:
    """A PDF of lines, in the order given: size, place from the left and from below, text."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * place} 0 R" for place in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for place, lines in enumerate(pages):
        stream = "\n".join(
            f"BT /F1 {size} Tf {left} {below} Td ({text}) Tj ET"
            for size, left, below, text in lines
        ).encode("latin-1")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * place} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(
            b"<< /Length " + str(len(stream)).encode() + b" >>\nstream\n" + stream + b"\nendstream"
        )
    target = io.BytesIO(b"")
    target.write(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(target.tell())
        target.write(str(number).encode() + b" 0 obj\n" + content + b"\nendobj\n")
    start = target.tell()
    target.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    target.writelines(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    target.write(
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    )
    return target.getvalue()


def scanned_pdf(pages: Sequence[str]) -> bytes:
    """A PDF whose pages are pictures of a line of text each."""
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 40)
    pictures = []
    for text in pages:
        picture = Image.new("L", (1240, 1754), "white")  # A4 at 150 dots an inch
        ImageDraw.Draw(picture).text((120, 200), text, fill="black", font=font)
        pictures.append(picture)
    target = io.BytesIO(b"")
    pictures[0].save(target, "PDF", save_all=True, append_images=pictures[1:], resolution=150)
    return target.getvalue()
