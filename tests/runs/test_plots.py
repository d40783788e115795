import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.runs.numbers import Bar, bar, interval, is_estimate, scale, show
from planish.runs.plots import INK, SERIES, Series, interval_plot, line_plot, prefixed, style, svg
from planish.stats import Estimate

numbers = st.floats(-1e6, 1e6)


@st.composite
def estimates(draw) -> Estimate:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return Estimate(value=None)
    return Estimate(value=value) if kind == 1 else Estimate(value=value, low=low, high=high, n=3)


@given(st.lists(estimates(), min_size=1, max_size=5))
def test_bars_stay_on_their_axis(rows):
    axis = scale(rows)
    assert axis[0] <= 0 < axis[1]
    for row in rows:
        drawn = bar(row, axis)
        assert (drawn is None) == (row.value is None)
        if drawn is not None:
            assert 0 <= drawn.value <= 100
            assert (drawn.low is None) == (row.low is None)
            if drawn.low is not None:
                assert 0 <= drawn.low <= drawn.value <= drawn.high <= 100
            assert (drawn.zero is None) == (axis[0] == 0)


def test_a_known_bar():
    estimate = Estimate(value=0.25, low=0.125, high=0.5, n=8)
    assert bar(estimate, scale([estimate])) == Bar(value=25, low=12.5, high=50, zero=None)
    lower = Estimate(value=-0.5, low=-1.0, high=0.0, n=8)
    drawn = bar(lower, scale([lower]))
    assert drawn.zero == 50
    assert drawn.low < drawn.value < drawn.high == 50


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (True, "yes"),
        (0, "0"),
        (0.0, "0"),
        (-1234567, "−1,234,567"),
        (0.70371, "0.704"),
        (-0.14, "−0.140"),
        (1.0, "1.000"),
        (12.345, "12.3"),
        (12345.6, "12,346"),
        (0.000012, "1.2e−05"),
        ("a-b", "a-b"),
    ],
)
def test_show(value, text):
    assert show(value) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_float_can_be_shown(value):
    assert 0 < len(show(value)) < 420


def test_interval_and_estimates():
    assert interval(Estimate(value=0.5, low=0.25, high=0.75)) == "[0.250, 0.750]"
    assert interval(Estimate(value=0.5)) == ""
    assert is_estimate(Estimate(value=None))
    assert not is_estimate(0.5)
    assert not is_estimate("0.5")


def rows() -> list:
    return [
        ("always A", Estimate(value=0.99, low=0.97, high=1.0, n=9), 1.0),
        ("costs $5 and $6", Estimate(value=None), None),
        ("裁判 </text><script>", Estimate(value=0.4), 0.3),
    ]


def test_interval_plot_shows_labels_values_and_planted():
    drawing = svg(interval_plot(rows(), xlabel="share"), 'what "it" shows')
    for text in ("always A", "0.990  [0.970, 1.000]", "costs $5 and $6", "n/a", "share", "planted"):
        assert f">{text}</text>" in drawing
    assert "裁判 &lt;/text&gt;&lt;script&gt;" in drawing
    assert 'aria-label="what &quot;it&quot; shows"' in drawing
    assert drawing.startswith("<svg ")
    assert drawing.endswith("</svg>")
    assert "<metadata" not in drawing
    assert "http" not in drawing


def test_without_planted_values_there_is_no_legend():
    drawing = svg(interval_plot([("a", rows()[0][1], None)]), "x")
    assert "planted" not in drawing


def test_negative_numbers_get_a_zero_line():
    figure = interval_plot([("d", Estimate(value=-0.1, low=-0.2, high=0.1, n=5), None)])
    low, high = figure.axes[0].get_xlim()
    assert low < -0.2
    assert high > 0.1


def test_a_long_label_leaves_room():
    drawing = svg(interval_plot([("x" * 500, Estimate(value=0.5), None)]), "x")
    assert f">{'x' * 35}…</text>" in drawing
    drawing = svg(line_plot([Series("y" * 500, [0], [0]), Series("z", [0], [1])]), "x")
    assert f">{'y' * 35}…</text>" in drawing


def test_no_rows_at_all():
    assert "<svg" in svg(interval_plot([]), "nothing")
    assert "<svg" in svg(line_plot([]), "nothing")


def test_lines_are_told_apart_without_colour():
    figure = line_plot([Series(str(index), [0, 1], [0, index]) for index in range(6)])
    lines = figure.axes[0].lines
    assert len({str(line.get_linestyle()) + line.get_marker() for line in lines}) == 6
    assert len({line.get_color() for line in lines}) == 6


def test_a_band_is_drawn_where_given():
    with_band = line_plot([Series("a", [0, 1], [0, 1], [-1, 0], [1, 2])], ylim=(-2, 2))
    assert len(with_band.axes[0].collections) == 1
    assert with_band.axes[0].get_ylim() == (-2, 2)
    assert len(line_plot([Series("a", [0, 1], [0, 1])]).axes[0].collections) == 0


def test_colours_follow_the_page():
    drawing = svg(interval_plot(rows()), "x")
    assert f"var(--series-1, {SERIES[0]})" in drawing
    assert f"var(--ink, {INK})" in drawing
    assert "DejaVu" not in drawing


def test_style_leaves_no_trace():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["text.color"] == INK
    assert dict(matplotlib.rcParams) == before


def test_ids_are_prefixed_and_used():
    drawing = prefixed(svg(line_plot([Series("a", range(3), range(3))]), 'x id="y"'), "p7-")
    ids = set(re.findall(r' id="([^"]+)"', drawing))
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawing))
    assert ids
    assert ids == used
    assert all(id.startswith("p7-") for id in ids)


def test_pyplot_is_never_imported():
    code = (
        "import sys; from planish.runs.plots import *; from planish.stats import Estimate;"
        "svg(interval_plot([('a', Estimate(value=0.5), 0.5)]), 'x');"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_doublings_are_marked_where_the_lines_are():
    lines = [Series("a", [1, 2, 4, 8, 12], [0.1, 0.2, 0.3, 0.4, 0.5])]
    figure = line_plot(lines, xlabel="k", doubling=True)
    [axes] = figure.axes
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "4", "8", "12"]
    assert ">12</text>" in svg(figure, "x")
