"""The playground page at ``/`` in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from rag_assets.api.sql.keys import create_key
from rag_assets.postgres.database import Database
from rag_assets_tests.api.chromium import PROGRAM, Chromium, Page, running_chromium
from rag_assets_tests.api.conftest import corpus_settings, verse_text
from rag_assets_tests.api.server import CORPUS, EXPLAIN, ROOT, Server, environment_of, serving
from rag_assets_tests.documents.corpus import judge_all, publish_document
from rag_assets_tests.release.corpus import release_corpus

pytestmark = pytest.mark.long

in_a_browser = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium here")
SETTLED = "document.querySelector('#results')?.getAttribute('aria-busy') === 'false'"
HITS = f"{SETTLED} && document.querySelectorAll('.hit').length > 0"
PROBLEM = f"{SETTLED} && document.querySelector('#problem')?.hidden === false"
CHOICES = "document.querySelectorAll('#books option').length > 1"
AXE = next(
    (ROOT / ".venv-integrations").glob("lib/*/site-packages/axe_playwright_python/axe.min.js"), None
)
VIOLATIONS = (
    "axe.run(document, {resultTypes: ['violations']}).then("
    "found => found.violations.map(one => [one.id, one.nodes.map(node => node.html)]))"
)
QUERY = "a great fish swallowed Jonah"
PHONES = (375, 390)
LOADED = "[...document.querySelectorAll('.more > details')].every(d => d.querySelector('dl, ul'))"
EVIL = "<img src=x onerror=\"document.title='owned'\"><b>swallowed</b> & <script>1</script>"
MARKDOWN = f"""# Store

{"The store is open on weekdays. " * 12}

| **pumps** | [guide](https://example.org) |
|---|---|
| monthly | yearly |

{EVIL}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def page(browser: Chromium) -> Page:
    return Page(browser)


def choose(page: Page, name: str, value: str) -> None:
    """Choose an option, as a person does, once it is there."""
    page.wait(f"[...document.querySelector('#{name}').options].some(o => o.value === '{value}')")
    page.ask(
        f"document.querySelector('#{name}').value = '{value}';"
        f"document.querySelector('#{name}').dispatchEvent(new Event('change', {{bubbles: true}}))"
    )


def chosen(page: Page, name: str) -> list[str]:
    """The names of what is chosen."""
    found: list[str] = page.ask(
        f"[...document.querySelectorAll('#{name}-chosen button')].map(one => one.textContent)"
    )
    return found


def options(page: Page, name: str) -> list[str]:
    """The values that can be chosen."""
    found: list[str] = page.ask(
        f"[...document.querySelector('#{name}').options].map(one => one.value)"
    )
    return found


def address(server: Server, **parameters: object) -> str:
    return f"{server.origin}/?{urlencode(parameters, doseq=True)}"


@in_a_browser
def test_a_search_in_the_url_shows_hits_and_how_they_were_found(server: Server, page: Page) -> None:
    page.open(address(server, query=QUERY, top_k=3, language="en", hybrid="true"), until=HITS)
    expected = server.found(query=QUERY, top_k=3, language="en", hybrid=True)

    shown = page.text()
    assert "3 hits in release 1." in shown
    assert re.search(rf"plan\s+{expected['plan']['kind']}\s", shown)
    assert re.search(r"embedding\s+[\d.]+ ms\s+search\s+[\d.]+ ms\s+total\s+[\d.]+ ms", shown)
    assert re.search(r"request\s+[0-9a-f]{32}", shown)
    assert "Serving release 1" in shown
    assert page.ask("[...document.querySelectorAll('.hit h3')].map(h => h.textContent)") == [
        f"{hit['reference']}{hit['usfm']}" for hit in expected["hits"]
    ]
    assert page.ask("[...document.querySelectorAll('blockquote')].map(q => q.textContent)") == [
        hit["text"] for hit in expected["hits"]
    ]
    first = expected["hits"][0]
    assert {first["version"], f"{first['score']:.3f}"} <= set(shown.split())
    assert page.ask("document.querySelector('.hit blockquote').lang") == "en"


@in_a_browser
def test_the_url_follows_the_search(server: Server, page: Page) -> None:
    page.open(server.origin + "/", until=SETTLED)
    assert "um peixe enorme engoliu Jonas" in page.text()  # examples, and no search yet
    page.ask(
        f"document.querySelector('#query').value = {QUERY!r};"
        "document.querySelector('[name=collapse]').checked = true;"
    )
    choose(page, "books", "RUT")
    choose(page, "books", "JON")
    page.wait(HITS)
    asked = urlencode({"query": QUERY, "books": ["RUT", "JON"], "collapse": "true"}, doseq=True)
    assert page.ask("location.search") == f"?{asked}"
    assert chosen(page, "books") == ["Ruth", "Jonah"]
    page.ask("document.querySelector('#books-chosen button').click()")
    page.wait("!location.search.includes('RUT')")
    assert chosen(page, "books") == ["Jonah"]


@in_a_browser
def test_the_choices_are_what_is_released(server: Server, page: Page) -> None:
    page.open(server.origin + "/", until=CHOICES)
    found = server.http.get(CORPUS).json()
    assert options(page, "versions") == ["", *(one["version"] for one in found["versions"])]
    assert options(page, "books") == ["", *(one["book"] for one in found["books"])]
    assert options(page, "language") == ["", "en", "pt"]
    assert options(page, "documents") == [""]


@in_a_browser
def test_words_of_the_query_are_marked_whatever_their_accents(server: Server, page: Page) -> None:
    page.open(address(server, query="o peixe engolira JÓNAS", language="pt", top_k=3), until=HITS)
    marks = page.ask(
        "[...document.querySelectorAll('.hit:first-child mark')].map(m => m.innerText)"
    )
    assert set(marks) == {"peixe", "engolir", "Jonas"}


@in_a_browser
def test_the_page_is_in_portuguese_too_and_stays_so(server: Server, page: Page) -> None:
    page.open(address(server, query=QUERY, books="JON", top_k=3), until=f"{HITS} && {CHOICES}")
    page.ask("document.querySelector('#tongue').click()")
    page.wait("document.querySelector('#readiness').innerText === 'Publicação 1 no ar'")
    shown = page.text()
    assert "3 resultados na publicação 1." in shown
    assert "encontrado por vetor" in shown
    assert chosen(page, "books") == ["Jonas"]
    assert page.ask("document.documentElement.lang") == "pt"
    page.open(server.origin + "/", until="document.documentElement?.lang === 'pt'")
    assert "Filtros" in page.text()


def test_every_text_of_the_page_has_a_translation(server: Server) -> None:
    source = server.http.get("/").text
    known = set(re.findall(r'^  "((?:[^"\\]|\\.)+)": "', source, re.M))
    static = re.findall(r"<(?:\w+)[^>]* data-t>([^<]+)<", source)
    called = re.findall(r'\bt\("([^"]+)"', source)
    placeholders = re.findall(r'placeholder="([^"]+)" data-t-placeholder', source)
    assert len(static) > 20
    assert len(called) > 20
    assert {*static, *called, *placeholders} - known == set()


@in_a_browser
def test_the_keyboard_alone_suffices(server: Server, page: Page) -> None:
    page.open(address(server, query=QUERY, top_k=2), until=f"{HITS} && {CHOICES}")
    page.ask("document.activeElement.blur()")
    page.press("/")
    assert page.ask("document.activeElement.id") == "query"
    reached = set()
    for _ in range(40):
        page.press("Tab")
        reached.add(page.ask("document.activeElement.id || document.activeElement.className"))
    wanted = {*("corpus", "language", "versions", "books", "documents", "top_k", "key", "tongue")}
    assert wanted | {"tag"} <= reached
    page.ask("document.querySelector('.why summary').focus()")
    page.press("Enter")
    page.wait("document.querySelector('.why dl') !== null")
    asked = server.http.post(EXPLAIN, json={"query": QUERY, "top_k": 2}).json()
    why = asked["hits"][0]["why"]
    shown = page.ask("[...document.querySelectorAll('.why dd')].map(one => one.textContent)")
    assert shown[1:4] == [why["text_hash"], why["run_id"], why["model"]]
    assert str(why["ranks"]["exact"]) in shown
    page.ask(
        "document.querySelector('#missing').open = true;"
        "document.querySelector('#expected').value = 'EN_SAMPLE Psalm 23:1';"
        "document.querySelector('#expected').focus()"
    )
    page.press("Enter")
    page.wait("document.querySelector('#stages dl') !== null")
    explained = server.http.post(
        EXPLAIN, json={"query": QUERY, "top_k": 2, "expect": ["EN_SAMPLE Psalm 23:1"]}
    ).json()["expected"][0]
    shown = page.ask("document.querySelector('#stages').innerText")
    assert explained["reason"] in shown
    assert explained["next_command"] in shown


@in_a_browser
def test_a_verse_stands_beside_itself_in_other_versions(server: Server, page: Page) -> None:
    page.open(
        address(server, query=QUERY, versions="EN_SAMPLE", top_k=1), until=f"{HITS} && {CHOICES}"
    )
    page.ask("document.querySelector('.versions').open = true")
    page.wait("document.querySelectorAll('.beside li').length === 2")
    shown = page.ask("[...document.querySelectorAll('.beside p')].map(one => one.textContent)")
    assert shown == [verse_text(code, "JON", 1, 17) for code in ("EN_SAMPLE", "PT_SAMPLE")]
    page.ask("document.querySelector('.beside button').click()")
    page.wait("document.querySelectorAll('.beside li').length === 1")
    assert page.ask("document.activeElement.tagName") == "SELECT"
    page.ask(
        "document.activeElement.value = 'PT_SAMPLE';"
        "document.activeElement.dispatchEvent(new Event('change'))"
    )
    page.wait("document.querySelectorAll('.beside li').length === 2")


@in_a_browser
@pytest.mark.skipif(
    AXE is None, reason="axe is not installed: `make test-integrations` installs it"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1300])
def test_axe_finds_nothing(server: Server, page: Page, scheme: str, width: int) -> None:
    assert AXE is not None
    page.prefer(scheme)
    for url, until in (
        (server.origin + "/", CHOICES),
        (address(server, query=QUERY, versions="EN_SAMPLE", hybrid="true"), f"{HITS} && {CHOICES}"),
        (address(server, query=QUERY, versions="EN_SAMPL"), PROBLEM),
    ):
        page.open(url, width=width, until=until)
        page.ask("document.querySelectorAll('details').forEach(one => { one.open = true })")
        page.wait(LOADED)
        page.ask(AXE.read_text("utf-8"))
        found = page.ask(VIOLATIONS)
        assert found == []


@in_a_browser
def test_a_problem_is_shown_and_its_suggestion_can_be_clicked(server: Server, page: Page) -> None:
    wrong = ["PT_SAMPLE", "EN_SAMPL"]
    page.open(address(server, query=QUERY, versions=wrong), until=PROBLEM)
    shown = page.text()
    assert "version EN_SAMPL is not in the active release" in shown
    assert re.search(r"status 422 · request [0-9a-f]{32}", shown)

    page.ask("document.querySelector('.choices button').click()")
    page.wait(HITS)
    assert page.ask("location.search").endswith("versions=PT_SAMPLE&versions=EN_SAMPLE")
    assert page.ask("document.querySelector('#problem').hidden")


@in_a_browser
def test_nothing_is_loaded_from_other_sites(server: Server, page: Page) -> None:
    page.open(address(server, query=QUERY), until=HITS)
    page.wait("document.querySelector('#readiness').textContent !== ''")
    asked = page.requested()
    assert f"{server.origin}/api/v1/ai/rag/retrieve" in asked
    elsewhere = [url for url in asked if not url.startswith((f"{server.origin}/", "data:"))]
    assert elsewhere == []
    assert page.complaints() == []  # and the policy blocked nothing


@in_a_browser
def test_the_openapi_page_shows_every_route_without_other_sites(server: Server, page: Page) -> None:
    page.open(f"{server.origin}/docs", until="document.querySelectorAll('.opblock').length > 0")
    document = server.http.get("/openapi.json").json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert page.ask("document.querySelectorAll('.opblock').length") == len(operations)
    shown = page.text()
    assert all(operation["summary"] in shown for operation in operations)
    elsewhere = [url for url in page.requested() if not url.startswith((server.origin, "data:"))]
    assert elsewhere == []
    assert page.complaints() == []


@in_a_browser
def test_a_text_is_never_html(corpus: Database, tmp_path: Path, page: Page) -> None:
    with corpus.connect() as connection:
        changed = connection.execute("UPDATE verses SET text = %s", (EVIL,)).rowcount
    assert changed > 0
    with serving(tmp_path, environment_of(corpus)) as server:
        page.open(address(server, query=QUERY, top_k=1), until=HITS)
        assert page.ask("document.querySelector('blockquote').textContent") == EVIL
        assert page.ask("document.querySelectorAll('.hit img, .hit b, .hit script').length") == 0

        page.open(address(server, query=QUERY, versions=EVIL), until=PROBLEM)
        assert EVIL in page.ask("document.querySelector('#problem').textContent")
        assert page.ask("document.querySelectorAll('#problem img, #problem b').length") == 0
        assert "owned" not in page.ask("document.title")


@in_a_browser
@pytest.mark.parametrize("width", PHONES)
def test_a_phone_needs_no_scrolling_sideways(server: Server, page: Page, width: int) -> None:
    long = "x" * 90
    for url, until in (
        (server.origin + "/", SETTLED),
        (address(server, query=QUERY, hybrid="true", collapse="true"), HITS),
        (address(server, query=QUERY, versions=long), PROBLEM),
    ):
        page.open(url, width=width, until=until)
        page.ask("document.querySelectorAll('details').forEach(one => { one.open = true })")
        page.wait(LOADED)
        assert page.ask("document.documentElement.scrollWidth") == width


@in_a_browser
def test_a_key_is_requested_and_stays_in_the_tab(
    corpus: Database, tmp_path: Path, page: Page
) -> None:
    with corpus.connect() as connection:
        key = create_key(connection, "page", ["read"], requests_per_minute=600)
    with serving(tmp_path, environment_of(corpus)) as server:
        page.open(address(server, query=QUERY), until=PROBLEM)
        assert "give an API key" in page.text()
        page.ask("document.querySelector('.choices button').click()")
        assert page.ask("document.activeElement.id") == "key"
        page.ask(
            f"document.activeElement.value = {key!r};"
            "document.activeElement.dispatchEvent(new Event('input'));"
            "document.querySelector('#search').requestSubmit()"
        )
        page.wait(HITS)
        page.open(address(server, query=QUERY), until=HITS)  # the key is still known
        assert page.ask("Object.keys(localStorage).length + document.cookie.length") == 0
        assert key not in page.ask("location.href + document.documentElement.outerHTML")
        assert key not in server.log


def test_the_policy_allows_this_script_and_style_only(server: Server) -> None:
    answer = server.http.get("/")
    assert answer.status_code == 200
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", policy[kind])
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text) == []


@in_a_browser
def test_documents_are_shown_with_their_place_and_narrowed_by_a_click(
    corpus: Database, tmp_path: Path, page: Page
) -> None:
    settings = corpus_settings(corpus, rag_index_min_rows=100)
    texts = ["The pump must never run dry", "Grease its bearings every month"]
    publish_document(
        corpus, settings, "manual.pdf", texts, title="Manual", heading=("Pumps",), paged=True
    )
    publish_document(corpus, settings, "notes.md", ["A pump is a pump"], title=EVIL)
    publish_document(corpus, settings, "store.md", [MARKDOWN], title="Store")
    judge_all(corpus, settings)
    release_corpus(corpus, settings)
    with serving(tmp_path, environment_of(corpus)) as server:
        page.open(address(server, query="a pump", top_k=60, language="en"), until=HITS)
        shown = page.text()
        assert "Bible: plan" in shown
        assert "documents: plan" in shown
        assert "Manual, p. 1" in shown
        assert "Pumps › page 1 › passage 1" in shown
        assert EVIL in shown
        assert "owned" not in page.ask("document.title")

        page.ask("[...document.querySelectorAll('.tag')]"
                 ".find(tag => tag.textContent === 'manual.pdf').click()")  # fmt: skip
        page.wait(f"{SETTLED} && document.querySelectorAll('.hit').length === 2")
        assert page.ask("location.search").endswith("documents=manual.pdf&language=en&top_k=60")

        page.open(address(server, query="a pump", documents="store.md"), until=HITS)
        part = "document.querySelector('.hit > blockquote')"
        assert len(page.ask(f"{part}.textContent")) <= 240
        assert page.ask(f"{part}.querySelector('mark').textContent") == "pumps"
        page.ask("document.querySelector('.hit > details').open = true")
        page.wait(f"{part}.hidden")
        whole = "document.querySelector('.hit > details blockquote')"
        assert page.ask(f"{whole}.querySelectorAll('table td').length") == 2
        assert page.ask(f"{whole}.querySelector('mark').textContent") == "pumps"
        assert page.ask(f"{whole}.querySelectorAll('img, b, script, a').length") == 0
        assert EVIL in page.ask(f"{whole}.textContent")
        assert "owned" not in page.ask("document.title")

        page.open(address(server, query="a pump", corpus="documents"), until=HITS)
        assert page.ask("document.querySelectorAll('.hit').length") == 4
        assert page.ask("document.querySelector('#corpus').value") == "documents"
        page.ask(
            "document.querySelector('#corpus').value = 'bible';"
            "document.querySelector('#corpus').dispatchEvent("
            "new Event('change', { bubbles: true }))"
        )
        page.wait(f"{SETTLED} && document.querySelectorAll('.hit').length === 10")
        assert page.complaints() == []
