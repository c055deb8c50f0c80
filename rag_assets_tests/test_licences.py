"""Every package of the image has a licence that was agreed to, and the page says which."""

from __future__ import annotations

import pytest

from rag_assets_tests import licences


def test_the_page_lists_what_the_image_installs() -> None:
    assert licences.PAGE.read_text("utf-8").endswith(licences.table()), (
        "write it anew: python -m rag_assets_tests.licences"
    )


@pytest.mark.parametrize("package", licences.locked())
def test_its_licence_is_one_of_those_agreed_to(package: str) -> None:
    assert licences.parts(licences.licence(package)) <= licences.ALLOWED


def test_what_is_weakly_copyleft_is_explained() -> None:
    page = licences.PAGE.read_text("utf-8").partition(licences.HEAD)[0]
    for package in licences.locked():
        if licences.parts(licences.licence(package)) & licences.WEAK_COPYLEFT:
            assert package.split("-")[0].removesuffix("2") in page, package


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "Proprietary", ""])
def test_others_would_be_refused(licence: str) -> None:
    assert not licences.parts(licence) <= licences.ALLOWED


def test_a_package_for_another_system_is_left_out() -> None:
    assert "pywin32" in licences.LOCK.read_text("utf-8")
    assert "pywin32" not in licences.locked()
    assert {"dagster", "psycopg", "numpy"} <= set(licences.locked())
