import os
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from planish.runs import Run, RunInfo, find
from planish.runs.plots import Series, interval_plot, line_plot
from planish.runs.report import TINY, Report, combine
from planish.stats import Estimate

VOID = {"meta", "link", "br", "img", "hr", "input"}
HOSTILE = (
    "\"'><script>alert(1)</script><img src=http://x/ onerror=alert(2)><!-- $\\alpha_{$ {{ 7*7 }}"
)
INFO = RunInfo(
    room="rise",
    stage="demo",
    status="done",
    seed=11,
    started="2025-06-01T10:20:30.000+00:00",
    command="planish demo rise",
    versions={"planish": "0.1.0", "python": "3.11.7"},
)
HALF = Estimate(value=0.5, low=0.4, high=0.6, n=270)


class Page(HTMLParser):
    """What a browser would see: elements, attributes and text; refuses unbalanced markup."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def full(text: str = "plain", run: RunInfo = INFO) -> Report:
    """A report with every kind of block, `text` in every place that takes any."""
    report = Report(text, text, text, text, run=run, tiny=True)
    report.numbers({text: HALF, "words": text, "count": 270, "none": Estimate(value=None)})
    report.section(text, f"{text}\n\n- {text}\n- `{text}`\n\n**{text}**")
    report.table([text, "estimate"], [[text, HALF], ["x", None]], caption=text)
    report.figure(interval_plot([(text, HALF, 0.5)], xlabel=text[:30]), text, alt=text)
    line = line_plot([Series(text, [0, 1], [0, 1]), Series("b", [0, 1], [1, 0], [0, 0], [2, 2])])
    report.figure(line, text)
    report.details(text, text, columns=[text], rows=[[text]])
    return report


def assert_inert(page: Page) -> None:
    assert {"script", "img", "iframe", "object", "embed", "link", "base", "form"}.isdisjoint(
        page.tags
    )
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.values("src") == []
    for target in page.values("href") + page.values("xlink:href"):
        assert target.startswith("#")
    for style in page.values("style"):
        assert "url(" not in style.replace("url(#", "")


def test_the_page_fetches_nothing_and_runs_nothing():
    html = full().html()
    page = Page(html)
    assert_inert(page)
    assert "@import" not in html
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    assert "default-src 'none'" in html


def test_hostile_text_stays_text():
    hostile = INFO.model_copy(update={"command": HOSTILE, "room": HOSTILE, "stage": HOSTILE})
    page = Page(full(HOSTILE, hostile).html())
    plain = Page(full("plain").html())
    assert_inert(page)
    # The markup is the one of harmless text, tag for tag.
    assert page.tags == plain.tags
    shown = " ".join(HOSTILE.split())
    assert page.text.count(shown) >= 15
    assert shown in [" ".join(value.split()) for value in page.values("aria-label")]


def test_text_that_html_or_utf8_cannot_hold(tmp_path):
    report = Report("a\x00b\ud800c\x1b[31m").details("x", "tab\tkept\nand \x08 not")
    html = report.save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a�b�c�[31m" in html
    assert "tab\tkept\nand � not" in html


def test_the_same_data_give_the_same_bytes(tmp_path):
    assert full().html() == full().html()
    code = f"""
    import sys
    sys.path.insert(0, {os.path.dirname(__file__)!r})
    from test_report import full
    full().save(sys.argv[1])
    """
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.html"
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(path)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert path.read_text(encoding="utf-8") == full().html()


def test_saving_twice_gives_the_same_page(tmp_path):
    report = full()
    first = report.save(tmp_path / "deep" / "a.html").read_bytes()
    assert report.save(tmp_path / "b.html").read_bytes() == first


def test_a_failed_save_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        full().save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_the_foot_says_where_it_comes_from():
    text = Page(full().html()).text
    for fact in ("2025-06-01 10:20", "seed 11", "planish 0.1.0", "planish demo rise", TINY):
        assert fact in text
    assert TINY not in Page(Report("x", run=INFO).html()).text
    assert "planish" in Page(Report("x").html()).text


def test_a_run_and_a_stored_run_tell_the_same(tmp_path):
    with Run.create("rise", "x", {}, seed=5, root=tmp_path) as run:
        live = Report("x", run=run).html()
        assert run.path.name in live
        assert "seed <b>5</b>" in live
        run.finish()
    assert Report("x", run=find(tmp_path, "last")).html() == live


def test_numbers_show_value_interval_and_count():
    page = Page(Report("x").numbers({"accuracy": HALF, "pairs": 1234}).html())
    assert "0.500 [0.400, 0.600] n = 270" in page.text.replace("\u202f", " ")
    assert "1,234" in page.text
    assert page.tags.count("rect") == 2  # one bar: the span and the point


def test_what_could_not_be_scored_is_not_zero():
    html = Report("x").numbers({"accuracy": Estimate(value=None)}).html()
    page = Page(html)
    assert "n/a" in page.text
    assert page.tags.count("rect") == 0


def test_tables_share_one_scale_per_column():
    wide = Estimate(value=0.2, low=-0.4, high=0.5, n=9)
    narrow = Estimate(value=0.1, low=0.05, high=0.15, n=9)
    page = Page(Report("x").table(["d"], [[wide], [narrow]]).html())
    widths = [float(value) for tag, name, value in page.attributes
              if (tag, name) == ("rect", "width")]  # fmt: skip
    assert widths[0] == pytest.approx(9 * widths[2], rel=0.01)
    classes = page.values("class")
    assert classes.count("zero") == 2


def test_alignment():
    rows = [["a", 1, np.float64(0.25), True]]
    classes = Page(Report("x").table(["w", "i", "f", "b"], rows).html()).values("class")
    assert [name for name in classes if name in ("left", "right", "center")] == [
        "left", "right", "right", "right",
    ] * 2  # fmt: skip
    classes = Page(Report("x").table(["w", "i"], [["a", 1]], align="cl").html()).values("class")
    assert [name for name in classes if name in ("left", "right", "center")] == [
        "center", "left",
    ] * 2  # fmt: skip
    assert "0.250" in Page(Report("x").table(["w", "i", "f", "b"], rows).html()).text


@pytest.mark.parametrize("options", [{"align": "l"}, {"align": "xx"}])
def test_a_wrong_alignment(options):
    with pytest.raises(ValueError, match="align"):
        Report("x").table(["a", "b"], [], **options)


def test_a_row_that_does_not_fit():
    with pytest.raises(ValueError, match="row 1 has 1 cells for 2 columns"):
        Report("x").table(["a", "b"], [[1, 2], [1]])


def test_paragraphs_lists_code_and_bold():
    page = Page(Report("x").text("one\nline\n\n- a `b`\n- **c**\n\n`` ** x").html())
    assert page.tags.count("li") == 2
    assert page.tags.count("code") == 1
    assert page.tags.count("strong") == 1
    assert "one line" in page.text
    assert "`` ** x" in page.text


def test_an_item_of_a_list_may_go_on_below_it():
    page = Page(Report("x").text("- a\n  b\n- c\n\n  - d\n    e\n\n  f\n  g\n\nh\n  - i").html())
    assert page.tags.count("ul") == 2
    assert page.tags.count("li") == 3
    for words in ("a b", "d e", "f g", "h - i"):
        assert words in page.text


def test_a_link_leads_to_its_file_from_wherever_the_page_lies(tmp_path):
    target = tmp_path / "room" / "a run" / "artifacts" / "a:b <i>.html"
    target.parent.mkdir(parents=True)
    target.touch()
    report = Report("x").link("The <b>episode</b>", target)
    places = [
        report.save(tmp_path / "room" / "a run" / "report.html"),
        combine([report], tmp_path / "all.html", "All"),
    ]
    for place in places:
        page = Page(place.read_text(encoding="utf-8"))
        (href,) = [each for each in page.values("href") if not each.startswith("#")]
        assert ":" not in href
        assert (place.parent / unquote(href)).resolve() == target.resolve()
        assert "The <b>episode</b>" in page.text
    assert Page(report.html()).values("href") == [target.absolute().as_uri()]


def test_several_reports_make_one_page(tmp_path):
    other = INFO.model_copy(update={"room": "reheat", "seed": 12})
    path = combine(
        [full(), full(run=other), Report("third")], tmp_path / "all.html", "All rooms", "demo"
    )
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert_inert(page)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    # Every link and every reference inside a figure leads somewhere on the page.
    targets = [value[1:] for value in page.values("href")]
    clips = [value.removeprefix("url(#").removesuffix(")") for value in page.values("clip-path")]
    assert set(targets + clips) <= set(ids)
    assert page.tags.count("article") == 3
    assert targets[:3] == ["r1", "r2", "r3"]
    assert "seed 11" in page.text
    assert "seed 12" in page.text
    assert page.tags.count("h1") == 1


def test_figures_from_elsewhere_get_white_paper():
    from matplotlib.figure import Figure

    foreign = Figure(figsize=(2, 1))
    foreign.subplots().plot([0, 1], [1, 0])
    assert 'class="paper"' in Report("x").figure(foreign).html()
    assert 'class="paper"' not in full().html()
