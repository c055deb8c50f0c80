"""Detects a document's language from its own words (xberg's detector, 0.5 ms)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xberg import ExtractionConfig, LanguageDetectionConfig

from rag_assets.documents.formats.blocks import Block
from rag_assets.documents.formats.library import extracted

UNKNOWN = "und"
_SAMPLE = 2000  # characters: enough for any language, and the time is in proportion
_MIN_CHARACTERS = 16
_MIN_WORDS = 7  # labels of a form ("Name Age Buy Sell Submit Cancel") are taken for French
_SURE_WORDS = 12  # with fewer, what the document declares is more reliable
_CONFIDENCE = 0.2  # a sentence reaches that; two words do not
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NOISE = re.compile(r"`[^`]*`|\]\([^)]*\)|\b(?:https?://|www\.)\S*|<[^>]*>|[\d|#*=\\{}\[\]_-]+")
_PAIRS = (
    "afr=af aka=ak amh=am ara=ar aze=az bel=be ben=bn bul=bg cat=ca ces=cs cmn=zh dan=da "
    "deu=de ell=el eng=en epo=eo est=et fin=fi fra=fr guj=gu heb=he hin=hi hrv=hr hun=hu "
    "hye=hy ind=id ita=it jav=jv jpn=ja kan=kn kat=ka khm=km kor=ko lat=la lav=lv lit=lt "
    "mal=ml mar=mr mkd=mk mya=my nep=ne nld=nl nob=nb ori=or pan=pa pes=fa pol=pl por=pt "
    "ron=ro rus=ru sin=si slk=sk slv=sl sna=sn spa=es srp=sr swe=sv tam=ta tel=te tgl=tl "
    "tha=th tuk=tk tur=tr ukr=uk urd=ur uzb=uz vie=vi yid=yi zul=zu "
    "arb=ar asm=as bak=ba bod=bo bos=bs bre=br cos=co cym=cy div=dv dzo=dz ekk=et eus=eu fao=fo "
    "fas=fa gla=gd gle=ga glg=gl hat=ht hau=ha ibo=ig ina=ia isl=is kaz=kk kin=rw kir=ky kmr=ku "
    "kur=ku lao=lo lin=ln ltz=lb lug=lg lvs=lv mlg=mg mlt=mt mon=mn mri=mi msa=ms nno=nn nor=no "
    "nya=ny oci=oc orm=om pus=ps que=qu roh=rm san=sa sme=se smo=sm snd=sd som=so sot=st sqi=sq "
    "srd=sc ssw=ss sun=su swa=sw swh=sw tat=tt tgk=tg tir=ti ton=to tsn=tn tso=ts uig=ug wol=wo "
    "xho=xh yor=yo zho=zh alb=sq arm=hy baq=eu bur=my chi=zh cze=cs dut=nl fre=fr geo=ka ger=de "
    "gre=el ice=is mac=mk mao=mi may=ms per=fa rum=ro slo=sk tib=bo wel=cy"
)
_TAGS = dict(pair.split("=") for pair in _PAIRS.split())
"""ISO 639-3 (the detector's) and 639-2/B to the two-letter tags of BCP 47."""


def language_of(blocks: Sequence[Block], declared: str) -> str:
    """BCP 47 primary tag: by the document's own words, else as declared, else ``und``.

    Its words come first, since templates declare English whatever is written in them; but not in a
    short text.
    """
    known = primary_tag(declared)
    sample = _sample(blocks)
    words = _words(sample, _SURE_WORDS)
    if words < _MIN_WORDS or (words < _SURE_WORDS and known != UNKNOWN):
        return known
    if len(sample) >= _MIN_CHARACTERS:
        config = ExtractionConfig(
            use_cache=False,
            enable_quality_processing=False,
            language_detection=LanguageDetectionConfig(min_confidence=_CONFIDENCE),
        )
        found = extracted(sample.encode(), "text/plain", config).detected_languages
        if found:
            return _TAGS.get(found[0], found[0])
    return known


def primary_tag(declared: str) -> str:
    """``pt`` of ``pt-BR``; ``und`` of what is no language tag."""
    tag = re.split("[-_]", declared.strip().lower(), maxsplit=1)[0]
    return _TAGS.get(tag, tag) if re.fullmatch("[a-z]{2,3}", tag) else UNKNOWN


def _words(sample: str, enough: int) -> int:
    """Count words, up to ``enough``; in a script without blanks, two characters are one word."""
    words = 0
    for found in _WORD.finditer(sample):
        words += len(found[0]) // 2 if _is_of_a_sentence(found[0]) else 1
        if words >= enough:
            break
    return words


def _is_of_a_sentence(word: str) -> bool:
    """Whether letters form no word but part of a sentence: Chinese, Japanese, Thai, Khmer."""
    return (
        len(word) > 1
        and ("\u0e00" <= word[0] <= "\u0eff" or word[0] >= "\u3040")
        and not ("\uac00" <= word[0] <= "\ud7a3")
    )


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
