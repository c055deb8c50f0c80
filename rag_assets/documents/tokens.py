"""Counts tokens of cl100k_base, the vocabulary of text-embedding-3, without a download.

The vocabulary is inside semantic-text-splitter, which cuts by tokens but does not count them: how
many tokens a word has is found by asking whether it fits, once a word. What remains is a look-up,
some 20 MB of text a second, where the tokenizer itself reads 2 and the splitter asks it repeatedly.
"""

from __future__ import annotations

import re
from functools import cache

from semantic_text_splitter import TextSplitter

_MODEL = "text-embedding-3-small"
_OTHER_NUMBERS = (  # Unicode's categories No and Nl, which `re` takes for letters
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
_LONGEST = 256  # characters of a piece counted as one; the tokenizer's time grows with its square
_REMEMBERED = 200_000  # pieces, some 20 MB


class _Known(dict[str, int]):
    """Tokens of the pieces met so far; others are asked for."""

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
    """Tokens of a text; of runs of over 256 letters or signs, the sum over their parts."""
    return sum(map(_known.__getitem__, _PIECES.findall(text)))


def _ask(piece: str) -> int:
    """The least number of tokens that the piece fits into; never more than its bytes."""
    # Words in ASCII have one or two; a row of Chinese or Korean not quite one a character.
    guess = 1 if piece.isascii() else max(1, 3 * len(piece) // 4)
    least, most, step = 0, len(piece.encode()), 1  # too little, and enough
    if _fits(piece, guess):
        most = guess
        while most - step > least:
            if not _fits(piece, most - step):
                least = most - step
                break
            most -= step
            step *= 2
    else:
        least = guess
        while least + step < most:
            if _fits(piece, least + step):
                most = least + step
                break
            least += step
            step *= 2
    while most - least > 1:
        middle = (least + most) // 2
        if _fits(piece, middle):
            most = middle
        else:
            least = middle
    return most


def _fits(piece: str, tokens: int) -> bool:
    # A character is never cut, whatever it takes: the word behind it, of one token, tells.
    return len(_splitter(tokens + 1).chunks(piece + " a")) == 1


@cache
def _splitter(tokens: int) -> TextSplitter:
    return TextSplitter.from_tiktoken_model(_MODEL, tokens, trim=False)
