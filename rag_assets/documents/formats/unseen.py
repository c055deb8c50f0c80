"""Which elements of a page are no part of its text: hidden ones, navigation, cookie banners."""

from __future__ import annotations

import re
from collections.abc import Mapping

SCRIPT, HIDDEN, NAVIGATION, CONSENT = "script", "hidden element", "navigation", "cookie banner"
NOTE_MARK = "footnote mark"

VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905
)
_NO_TEXT = frozenset({"script", "style", "metadata", "template", "datalist"})
_UNDISPLAYED = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BANNER = re.compile(  # of names in lower case, with "-" for "_"
    r"\b(?:cookie|consent|gdpr)s?(?:(?:-[a-z]+){0,3}-)?(?:banner|bar|box|consent|dialog|law|message"
    r"|modal|notice|overlay|popup|prompt|wrapper)s?\b"
    r"|\b(?:banner|modal|notice|popup)-?(?:cookie|consent|gdpr)s?\b"
    r"|\bonetrust|\bcybot|\bcc-window\b|\bcookiebot"
)
_MANY_WORDS = 100  # a cookie banner has fewer
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_BOXES = frozenset({"div", "section", "aside", "dialog", "form", "footer", "header", "span"})
_SIBLINGS = {
    "li": ("li",),
    "td": ("td", "th", "tr"),
    "th": ("td", "th", "tr"),
    "tr": ("tr",),
    "dt": ("dt", "dd"),
    "dd": ("dt", "dd"),
    "option": ("option", "optgroup"),
}
"""Elements that need no end tag, with the elements whose start tag ends them."""
_HOLDERS = frozenset({"ul", "ol", "dl", "table", "select", "datalist"})


def unseen(tag: str, attrs: Mapping[str, str | None], *, keep_navigation: bool) -> str:
    """Why an element is left out; empty where it is not."""
    if tag in _NO_TEXT:
        return SCRIPT
    if tag == "noscript" or "hidden" in attrs or _UNDISPLAYED.search(attrs.get("style") or ""):
        return HIDDEN
    if attrs.get("display") == "none":  # of SVG
        return HIDDEN
    if tag == "dialog" and "open" not in attrs:
        return HIDDEN
    if tag == "a" and "noteref" in f"{attrs.get('epub:type')} {attrs.get('role')}":
        return NOTE_MARK
    if keep_navigation:
        return ""
    if tag == "nav" or attrs.get("role") == "navigation":
        return NAVIGATION
    named = f"{attrs.get('id') or ''} {attrs.get('class') or ''}"
    is_banner = tag in _BOXES and _BANNER.search(named.lower().replace("_", "-"))
    return CONSENT if is_banner else ""


class Unseen:
    """An element that is left out, from its start tag to its end, which may have no tag.

    :param position: of its start tag in the page.
    """

    def __init__(self, tag: str, why: str, position: tuple[int, int]) -> None:
        self.tag, self.why, self.position = tag, why, position
        self._has_heading = False
        self.text: list[str] = []
        self._same = 1  # open elements of the same tag
        self._holders = 0  # lists and tables open within it

    @property
    def is_text(self) -> bool:
        """Whether it is named like a cookie banner, but has a heading or many words."""
        return self.why == CONSENT and (
            self._has_heading or len("".join(self.text).split()) >= _MANY_WORDS
        )

    def goes_on_at(self, tag: str, *, is_block: bool) -> bool:
        """Whether a tag that begins is still within it."""
        if self._holders == 0 and (
            tag in _SIBLINGS.get(self.tag, ()) or (self.tag == "p" and is_block)
        ):
            return False
        self._has_heading = self._has_heading or tag in _HEADINGS
        self._holders += tag in _HOLDERS
        self._same += tag == self.tag
        return True

    def goes_on_behind(self, tag: str, *, is_block: bool) -> bool:
        """Whether what follows a tag that ends is still within it; its own end tag included."""
        if tag == self.tag:
            self._same -= 1
            return self._same > 0
        if tag in _HOLDERS:
            self._holders -= 1
        return not self.ended_by(tag, is_block=is_block)

    def ended_by(self, tag: str, *, is_block: bool) -> bool:
        """Whether the end of an element around it has ended it, too."""
        return (self.tag in _SIBLINGS and self._holders < 0) or (
            self.tag == "p" and is_block and tag != "p" and self._holders <= 0
        )
