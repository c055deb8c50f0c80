"""Count tokens of cl100k_base, the vocabulary of text-embedding-3, without a download.

semantic-text-splitter contains the vocabulary, and splits by tokens but does not count them. The
number of tokens of each distinct word is therefore found by testing into how many it fits, once per
word. After that it is a dictionary lookup: about 20 MB of text per second, compared with 2 MB/s of
the tokenizer, which the splitter calls repeatedly.
"""

from __future__ import annotations

import re
from functools import cache

from semantic_text_splitter import TextSplitter

_MODEL = "text-embedding-3-small"
_OTHER_NUMBERS = (  # Unicode categories No and Nl, which `re` treats as letters
    "²³¹¼-¾\u09f4-\u09f9\u0f2a-\u0f33\u16ee-\u16f0\u2070-\u2079\u2080-\u2089\u2150-\u218b"
    "\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u3007\u3021-\u3029\u3192-\u3195\u3220-\u3229"
    "\u3248-\u324f\u3251-\u325f\u3280-\u3289\u32b1-\u32bf"
)
_LETTER = rf"[^\W\d_{_OTHER_NUMBERS}]"
_NUMBER = rf"[\d{_OTHER_NUMBERS}]"
_PIECES = re.compile(
    # https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py, cl100k_base
    r"'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE])"
    rf"|[^\w\r\n]?{_LETTER}++|_{_LETTER}++"
    rf"|{_NUMBER}{{1,3}}+"
    r"| ?(?:[^\s\w]|_)++[\r\n]*+"
    r"|\s*[\r\n]|\s+(?!\S)|\s"
)
_LONGEST = 256  # maximum characters per piece; the tokenizer's time is quadratic in it
_REMEMBERED = 200_000  # pieces, about 20 MB


class _Known(dict[str, int]):
    """A cache of tokens by piece."""

    def __missing__(self, piece: str) -> int:
        if len(piece) > _LONGEST:
            parts = range(0, len(piece), _LONGEST)
            return sum(count_tokens(piece[start : start + _LONGEST]) for start in parts)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[piece] = tokens = _ask(piece)
        return tokens


_known = _Known()


def count_tokens(text: str) -> int:
    """Count the tokens of a text; runs of over 256 letters or symbols are counted in parts."""
    return sum(map(_known.__getitem__, _PIECES.findall(text)))


def _ask(piece: str) -> int:
    """Find the smallest number of tokens that the piece fits into, which is at most its bytes."""
    # ASCII words have one or two tokens; Chinese and Korean a little less than one per character.
    guess = 1 if piece.isascii() else max(1, 3 * len(piece) // 4)
    low, high, step = 0, len(piece.encode()), 1  # does not fit, fits
    if _fits(piece, guess):
        high = guess
        while high - step > low:
            if not _fits(piece, high - step):
                low = high - step
                break
            high -= step
            step *= 2
    else:
        low = guess
        while low + step < high:
            if _fits(piece, low + step):
                high = low + step
                break
            low += step
            step *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(piece, middle):
            high = middle
        else:
            low = middle
    return high


def _fits(piece: str, tokens: int) -> bool:
    # A character is never split, even above the limit: a word of one token after it tells.
    return len(_splitter(tokens + 1).chunks(piece + " a")) == 1


@cache
def _splitter(tokens: int) -> TextSplitter:
    return TextSplitter.from_tiktoken_model(_MODEL, tokens, trim=False)
