"""The language of a document is detected from its own words."""

from __future__ import annotations

import pytest

from rag_assets.documents.formats.blocks import Block
from rag_assets.documents.formats.language import language_of, primary_tag


@pytest.mark.parametrize(
    ("text", "declared", "language"),
    [
        ("O gato subiu no telhado e não desceu mais até de manhã.", "", "pt"),
        ("The cat climbed onto the roof and did not come down again.", "", "en"),
        ("El gato subió al tejado y no volvió a bajar hasta la mañana.", "", "es"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", "", "ja"),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", "", "ko"),
        ("Все люди рождаются свободными и равными в своём достоинстве и правах. " * 2, "", "ru"),
        ("O gato subiu no telhado e não desceu mais até de manhã.", "en", "pt"),
        ("Name Age Buy Sell Submit Cancel", "", "und"),
        ("Veja aqui como se faz pão em casa.", "en", "en"),
        ("Mae'r gath ar y to ac nid yw wedi dod i lawr eto heddiw bore", "", "cy"),
        ("道可道，非常道。名可名，非常名。无名天地之始；有名万物之母。", "", "zh"),
        ("Table 1", "pt-BR", "pt"),
        ("17 + 4 = 21 ... 22 / 7", "", "und"),
        ("x", "not a tag", "und"),
    ],
)
def test_a_language_is_detected(text: str, declared: str, language: str) -> None:
    assert language_of([Block(text)], declared) == language


def test_code_and_addresses_tell_nothing() -> None:
    blocks = [
        Block("for line in lines: print(line.strip().split()[0])" * 20, prose=False),
        Block(
            "Veja https://example.org/the/long/english/address/of/a/page como se faz pão em casa."
        ),
    ]
    assert language_of(blocks, "") == "pt"


@pytest.mark.parametrize(
    ("declared", "tag"),
    [
        ("pt-BR", "pt"),
        ("EN_us", "en"),
        ("por", "pt"),
        ("ger", "de"),
        ("", "und"),
        ("{{ x }}", "und"),
    ],
)
def test_the_primary_tag(declared: str, tag: str) -> None:
    assert primary_tag(declared) == tag
