"""Which language a document is in, by its own words (xberg's detector, 0.5 ms)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xberg import ExtractionConfig, LanguageDetectionConfig

from rag_assets.documents.formats.blocks import Block
from rag_assets.documents.formats.library import extracted

UNKNOWN = "und"
_SAMPLE = 2000  # characters: enough for any language, and the time is in proportion
_LEAST = 16  # characters: less tells nothing
_CONFIDENCE = 0.2  # a sentence reaches that; two words do not
_NOISE = re.compile(r"`[^`]*`|\]\([^)]*\)|\b(?:https?://|www\.)\S*|<[^>]*>|[\d|#*=\\{}\[\]_-]+")
_PAIRS = (
    "afr=af aka=ak amh=am ara=ar aze=az bel=be ben=bn bul=bg cat=ca ces=cs cmn=zh dan=da "
    "deu=de ell=el eng=en epo=eo est=et fin=fi fra=fr guj=gu heb=he hin=hi hrv=hr hun=hu "
    "hye=hy ind=id ita=it jav=jv jpn=ja kan=kn kat=ka khm=km kor=ko lat=la lav=lv lit=lt "
    "mal=ml mar=mr mkd=mk mya=my nep=ne nld=nl nob=nb ori=or pan=pa pes=fa pol=pl por=pt "
    "ron=ro rus=ru sin=si slk=sk slv=sl sna=sn spa=es srp=sr swe=sv tam=ta tel=te tgl=tl "
    "tha=th tuk=tk tur=tr ukr=uk urd=ur uzb=uz vie=vi yid=yi zul=zu"
)
_TAGS = dict(pair.split("=") for pair in _PAIRS.split())
"""ISO 639-3, which the detector speaks, to the tags of BCP 47."""


def language_of(blocks: Sequence[Block], declared: str) -> str:
    """BCP 47 primary tag: by the document's own words, else as declared, else ``und``.

    Its words come first: templates declare English whatever is written in them.
    """
    sample = _sample(blocks)
    if len(sample) >= _LEAST:
        config = ExtractionConfig(
            use_cache=False,
            enable_quality_processing=False,
            language_detection=LanguageDetectionConfig(min_confidence=_CONFIDENCE),
        )
        found = extracted(sample.encode(), "text/plain", config).detected_languages
        if found:
            return _TAGS.get(found[0], found[0])
    return primary_tag(declared)


def primary_tag(declared: str) -> str:
    """``pt`` of ``pt-BR``; ``und`` of what is no language tag."""
    tag = re.split("[-_]", declared.strip().lower(), maxsplit=1)[0]
    return _TAGS.get(tag, tag) if re.fullmatch("[a-z]{2,3}", tag) else UNKNOWN


def _sample(blocks: Sequence[Block]) -> str:
    """Words of the first passages, without code, addresses and signs."""
    parts: list[str] = []
    length = 0
    for block in blocks:
        if not block.prose:
            continue
        words = _NOISE.sub(" ", block.text[:_SAMPLE])
        parts.append(words)
        length += len(words)
        if length >= _SAMPLE:
            break
    return re.sub(r"\s+", " ", " ".join(parts)).strip()[:_SAMPLE]
