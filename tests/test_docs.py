"""The documentation site: built without warnings, complete, whole by itself, and read in a browser from one end to the other."""
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from browser import complaints, open_chromium

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.xdist_group("docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("myst_nb", reason="the site needs the extra docs (pip install -e '.[docs]')")
    sys.path.insert(0, str(ROOT/"docs"))
    from build import build
    folder = tmp_path_factory.mktemp("docs")/"site"
    warnings = build(folder)
    assert warnings == []
    return folder


class Links(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.found, self.ids, self.used = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        if tag == "a" and attributes.get("href"):
            self.found.append(attributes["href"])
        if tag in ("script", "img", "video", "source", "iframe", "link"):
            self.used += [attributes[key] for key in ("src", "href") if attributes.get(key) and attributes.get("rel") not in ("canonical",)]


def test_every_module_and_notebook_has_a_page(site):
    for module in (ROOT/"vad_nb").rglob("*.py"):
        name = ".".join(module.relative_to(ROOT).with_suffix("").parts)
        if module.stem not in ("__init__", "_modidx"):
            assert (site/"api"/f"{name}.html").exists()
    for notebook in (ROOT/"nbs").rglob("*.ipynb"):
        if notebook.stem != "index" and ".ipynb_checkpoints" not in notebook.parts:
            assert (site/"notebooks"/notebook.relative_to(ROOT/"nbs").with_suffix(".html")).exists()
    page = (site/"api"/"vad_nb.methods.ddl_losses.html").read_text()
    assert "inside the box of each frame" in page and "distinction_loss" in page   # the comments beside parameters
    assert "distinction_loss" in (site/"searchindex.js").read_text()


def test_the_package_has_one_page_with_all_its_names(site):
    import vad_nb
    page = (site/"package.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in page for name in dir(vad_nb))
    words = re.sub("<[^>]*>", "", page).replace("&quot;", '"')
    assert 'load_benchmark("ped2", "/data/ped2")' in words


def test_every_link_leads_somewhere_and_nothing_is_fetched_from_outside(site):
    pages = {path: Links(path) for path in site.rglob("*.html")}
    broken, outside = [], []
    for path, page in pages.items():
        outside += [(path.name, used[:80]) for used in page.used if urlsplit(used).scheme in ("http", "https") or used.startswith("//")]
        for link in page.found:
            address, anchor = urldefrag(link)
            if urlsplit(link).scheme or link == "#":
                continue
            target = (path.parent/unquote(address)).resolve() if address else path
            if not target.exists() or (anchor and target in pages and unquote(anchor) not in pages[target].ids):
                broken.append((path.name, link))
    assert not broken and not outside


def test_the_site_in_a_browser(site, tmp_path):
    "Every page that the index leads to: no missing picture, no complaint in the console, mathematics set."
    browser = open_chromium(tmp_path)
    try:
        start = (site/"index.html").as_uri()
        seen, todo, wrong, formulas = set(), [start], [], 0
        while todo:
            page = todo.pop()
            browser.get(page)
            facts = browser.execute_async_script("""
                const done = arguments[0], ready = window.MathJax?.startup?.promise ?? Promise.resolve();
                ready.then(() => done({links: [...document.querySelectorAll("a[href]")].map(a => a.href.split("#")[0]),
                    broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src.slice(0, 90)),
                    formulas: document.querySelectorAll("mjx-container").length, raw: document.querySelectorAll("mjx-merror").length, wanted: document.querySelectorAll(".math").length}))""")
            wrong += [(page, one) for one in facts["broken"] + complaints(browser)]
            if facts["raw"] or (facts["wanted"] and not facts["formulas"]):
                wrong.append((page, "mathematics is not set"))
            formulas += facts["formulas"]
            seen.add(page)
            todo += [link for link in dict.fromkeys(facts["links"]) if link.startswith(site.as_uri()) and link.endswith(".html") and link not in seen and link not in todo]
        assert not wrong and formulas > 100
        assert len(seen) >= len(list((site/"notebooks").rglob("*.html"))) + len(list((site/"api").glob("*.html")))
        browser.get((site/"search.html").as_uri() + "?q=distinction_loss")
        browser.implicitly_wait(10)
        assert browser.find_elements("css selector", "#search-results li a")
    finally:
        browser.quit()


def test_markup_in_comments_is_escaped():
    sys.path.insert(0, str(ROOT/"docs"))
    from build import plain
    assert plain("a < b, `c|d_e`, $\\sigma_x$ and x_y*z") == "a &lt; b, `c\\|d_e`, $\\sigma_x$ and x\\_y\\*z"
