"""The report: one page that needs nothing but itself, and says what was measured."""

import base64
import json
import shutil
import signal
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from convnet.compare.experiments import cost
from convnet.compare.report import MARKS, answer, save_report, save_results
from convnet.compare.results import Key
from convnet.compare.run import Settings, compare
from convnet.compare.sections import accuracy_table, sections
from convnet.compare.study import Recipe
from test_compare import TINY, drawings


@pytest.fixture(scope="module")
def tiny():
    usual, cost.BUDGET = cost.BUDGET, 0.0
    yield compare(TINY, source=drawings)
    cost.BUDGET = usual


@pytest.fixture(scope="module")
def directory(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report") / "new" / "place"
    save_results(tiny, directory)
    save_report(tiny, directory)
    return directory


@pytest.fixture(scope="module")
def text(directory):
    return (directory / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """What of a page could need a second file, and its pictures' words."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.links, self.tags, self.ids, self.words = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        if tag == "img":
            self.pictures.append(attributes)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [attributes[name] for name in ("src", "href", "srcset", "data") if name in attributes]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def prose(self):
        return " ".join(" ".join(self.words).split())


class TestPage:
    def test_needs_nothing_but_itself(self, text):
        page = Page(text)
        assert all(link.startswith("data:") or link.lstrip("#") in page.ids for link in page.links)
        assert "script" not in page.tags
        assert "://" not in text
        assert "url(" not in text
        assert "@import" not in text

    def test_opens_with_the_answer_and_the_main_picture(self, tiny, text):
        sentences = answer(tiny)
        assert len(sentences) == 3
        opening = text[: text.index("<h2>")]
        assert len(Page(opening).pictures) == 1
        assert all(sentence in Page(opening).prose for sentence in sentences)

    def test_a_section_a_claim_with_its_verdict_and_figures(self, tiny, text):
        page = Page(text)
        assert page.ids == [f"claim-{number}" for number in range(1, 13)]
        for claim in tiny.claims:
            section = text.partition(f'id="claim-{claim.id}"')[2].partition("</section>")[0]
            prose = Page(section).prose
            assert f"{MARKS[claim.verdict]} {claim.verdict}" in prose
            assert "How it was measured" in prose
            for part in claim.parts:
                assert part.figure in prose
                assert part.bound in prose
            assert claim.id == 2 or Page(section).pictures

    def test_pictures_are_the_files_and_have_words(self, text, directory):
        pictures = Page(text).pictures
        shown = {
            base64.b64decode(p["src"].removeprefix("data:image/png;base64,"), validate=True) for p in pictures
        }
        assert shown == {path.read_bytes() for path in directory.glob("*.png")}
        assert all(png.startswith(b"\x89PNG\r\n\x1a\n") for png in shown)
        assert all(len(picture["alt"]) > 60 for picture in pictures)
        assert len({picture["alt"] for picture in pictures}) == len(shown)

    def test_tables_say_what_was_measured(self, tiny, text):
        prose = Page(text).prose
        for row in accuracy_table(tiny.results).rows:
            assert all(cell in prose for cell in row)
        accuracy = tiny.results.spread(Key("learning", "test accuracy", "cnn"))
        assert accuracy.percent() in prose

    def test_the_same_comparison_gives_the_same_bytes(self, tiny, directory, tmp_path):
        save_report(tiny, tmp_path)
        for path in tmp_path.iterdir():
            assert path.read_bytes() == (directory / path.name).read_bytes()

    def test_names_of_classes_are_escaped(self, tmp_path):
        data = replace(drawings(0), title="<b>bold</b> & co")
        comparison = compare(
            replace(TINY, seeds=(0,), models=("mlp",), experiments=("learning",)), source=lambda seed: data
        )
        page = save_report(comparison, tmp_path).read_text()
        assert "<b>" not in page
        assert "&lt;b&gt;bold" in page


class TestPartsOfARun:
    def test_a_short_run_says_so(self, tiny, text):
        assert tiny.caution.startswith("A first look: 2 seeds and 2 epochs, where a whole run has 5 and 20.")
        assert tiny.caution in Page(text).prose
        assert replace(tiny, settings=Settings()).caution == ""

    def test_interrupted(self, tmp_path):
        calls = []

        def interrupt(what, share):
            calls.append(what)
            if len(calls) == 6:
                signal.raise_signal(signal.SIGINT)

        comparison = compare(
            replace(TINY, experiments=("learning", "shift")), source=drawings, advance=interrupt
        )
        assert json.loads(save_results(comparison, tmp_path).read_text())["finished"] is False
        page = save_report(comparison, tmp_path).read_text()
        assert "This run was interrupted" in page
        assert answer(comparison) == []

    def test_one_experiment_alone(self, tmp_path):
        comparison = compare(replace(TINY, experiments=("growth",)), source=drawings)
        assert [s.claim.id for s in sections(comparison.results, comparison.claims)] == [1, 2]
        page = Page(save_report(comparison, tmp_path).read_text())
        assert len(page.pictures) == 2  # the same above and in its section

    def test_nothing_at_all(self, tmp_path):
        comparison = compare(
            replace(TINY, models=("mlp",), experiments=("filters",), recipe=Recipe(epochs=1)), source=drawings
        )
        page = Page(save_report(comparison, tmp_path).read_text())
        assert page.pictures == []
        assert "Is it fair?" in page.prose


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PROBE = """<!doctype html><body style="margin:0"><iframe src="report.html" width="{width}" height="900"
style="border:0"></iframe><pre id="found"></pre><script>
onload = () => setTimeout(() => {{
  const page = document.querySelector("iframe").contentDocument, view = page.defaultView;
  for (const one of page.querySelectorAll("details")) one.open = true;
  const images = [...page.images];
  document.getElementById("found").textContent = JSON.stringify({{
    width: view.innerWidth,
    content: page.documentElement.scrollWidth,
    images: images.length,
    missing: images.filter(one => !one.complete || !one.naturalWidth).length,
    wide: images.filter(one => one.getBoundingClientRect().right > view.innerWidth).length,
    requests: view.performance.getEntriesByType("resource").map(one => one.name.slice(0, 40))
      .filter(name => !name.startsWith("data:")),
  }});
}}, 300);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [360, 1280], ids=["phone", "desktop"])
def test_in_a_browser(directory, tmp_path, text, width):
    shutil.copy(directory / "report.html", tmp_path)
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    result = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--virtual-time-budget=10000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            (tmp_path / "probe.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(result.stdout.partition('<pre id="found">')[2].partition("</pre>")[0])
    assert found["width"] == width
    assert found["content"] <= width  # no horizontal scroll, with every table folded out
    assert found["images"] == len(Page(text).pictures) > 15
    assert (found["missing"], found["wide"], found["requests"]) == (0, 0, [])
