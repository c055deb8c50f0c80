"""Which elements of a page are no part of its text: hidden ones, navigation, cookie banners."""

from __future__ import annotations

import re
from collections.abc import Mapping

SCRIPT, HIDDEN, NAVIGATION, CONSENT = "script", "hidden element", "navigation", "cookie banner"
NOTE_MARK = "footnote mark"

VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905
)
_NO_TEXT = frozenset({"script", "style", "svg", "template", "datalist"})
_UNDISPLAYED = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BANNER = re.compile(
    r"(?:cookie|consent|gdpr)s?[-_\w]*(?:banner|bar|box|consent|dialog|law|message|modal|notice"
    r"|overlay|popup|prompt|wrapper)|(?:banner|modal|notice|popup)[-_]*(?:cookie|consent|gdpr)s?\b"
    r"|\bonetrust|\bcybot|\bcc-window\b|\bcookiebot|\bgdpr\b",
    re.IGNORECASE,
)
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
"""Elements that need no end tag, with those whose begin ends them."""
_HOLDERS = frozenset({"ul", "ol", "dl", "table", "select", "datalist"})


def unseen(tag: str, attrs: Mapping[str, str | None], *, keep_navigation: bool) -> str:
    """Why an element is left out; empty where it is not."""
    if tag in _NO_TEXT:
        return SCRIPT
    if tag == "noscript" or "hidden" in attrs or _UNDISPLAYED.search(attrs.get("style") or ""):
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
    return CONSENT if tag in _BOXES and _BANNER.search(named) else ""


class Unseen:
    """An element that is left out, from its begin to its end, which may have no tag."""

    def __init__(self, tag: str, why: str) -> None:
        self.tag, self.why = tag, why
        self.text: list[str] = []
        self._same = 1  # open elements of the same tag
        self._holders = 0  # lists and tables open within it

    def goes_on_at(self, tag: str, *, is_block: bool) -> bool:
        """Whether a tag that begins is still within it."""
        if self._holders == 0 and (
            tag in _SIBLINGS.get(self.tag, ()) or (self.tag == "p" and is_block)
        ):
            return False
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
