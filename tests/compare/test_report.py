"""Reports of comparisons: from records that are known, to what a reader sees."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import re
import sys
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib import pyplot

from keras_adamx.compare.report import Report, html, pictures, plot, reading, svg, words
from keras_adamx.compare.summary import Spread
from tests.compare import synthetic
from tests.compare.pages import Page, markdown_tables
from tests.compare.synthetic import compared, curve, entry, run, tuning, usual

matplotlib.use("Agg")
# Reports know nothing of the backend: one run of the tests is enough.
pytestmark = pytest.mark.backend("jax")

STRANGE = "<b>&amp;\"'</b> $x_1$ |`*_[a](http://x.y) " + "long " * 12


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def alone(name="digits"):
    """One optimizer, one seed, nothing tuned."""
    runs = [run("adam", "test", 0, curve(200), settings={})]
    return compared([entry("adam", tuned=False)], runs, seeds=1, name=name)


def losses(name="digits"):
    """A loss, smaller is better; one optimizer diverges to huge values."""

    def falling(scale):
        return tuple(
            dataclasses.replace(p, value=scale * p.loss) for p in curve(None, top=0.9)
        )

    huge = [dataclasses.replace(p, value=10.0**p.step) for p in falling(1.0)[:3]]
    runs = []
    for seed in range(3):
        runs.append(run("adam", "test", seed, falling(1.0 + seed / 100), settings={}))
        runs.append(
            run("sgd", "test", seed, tuple(huge), settings={}, reason="loss is inf")
        )
    entries = [entry(label, tuned=False) for label in ("adam", "sgd")]
    return compared(
        entries,
        runs,
        name=name,
        metric="loss",
        higher_is_better=False,
        target=0.5,
        machines=(),
    )


def unfinished():
    """Stopped in the middle: tuning for one, a test run for another."""
    runs = [
        *tuning("adam", (0.91, 0.95, 0.92)),
        run("adam", "test", 0, curve(100)),
        *tuning("sdprop", (0.91,), rates=(0.001,)),
    ]
    return compared([entry("adam"), entry("sdprop")], runs)


def hopeless():
    """Every setting of the only optimizer fails."""
    return compared([entry("wild")], tuning("wild", (math.nan,) * 3))


def bare():
    """What could be measured is not known, and no run has ended a step."""
    unknown = dict.fromkeys(
        ["update_microseconds", "state_bytes", "peak_memory_bytes", "load"]
    )
    runs = [run("adam", "test", 0, (), settings={}, reason="no memory", **unknown)]
    return compared([entry("adam", tuned=False)], runs, seeds=1)


def empty():
    """A plan and nothing else."""
    return compared([entry("adam"), entry("sgd")], [], machines=())


def planless():
    """A plan without optimizers."""
    return compared([], [])


def strange(name="digits", **changes):
    """A label that means something to HTML, to Markdown and to matplotlib."""
    return synthetic.renamed(usual(name, **changes), STRANGE)


ONE = {
    made.__name__: made
    for made in (
        usual,
        alone,
        losses,
        unfinished,
        hopeless,
        bare,
        empty,
        planless,
        strange,
    )
}
CASES = {
    **{name: lambda made=made: [made()] for name, made in ONE.items()},
    "several": lambda: [usual("digits"), alone("letters")],
    "profiles": lambda: [alone("digits"), alone("letters")],
    "different": lambda: [losses("losses"), strange("some | words", target=None)],
}


@pytest.fixture(params=CASES, scope="module")
def report(request):
    """Each case as a report, with its page made once."""
    made = Report(CASES[request.param]())
    return SimpleNamespace(
        case=request.param,
        report=made,
        source=made.to_html(),
        markdown=made.to_markdown(),
    )


def table_of(source, first):
    """The table of a Markdown text whose second head is this."""
    return next(t for t in markdown_tables(source) if t[0][1] == first)


# Every report.


def test_page_needs_nothing_but_itself(report):
    page = Page(report.source)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for tag, name, value in page.attributes:
        if name.startswith("xmlns"):
            continue
        assert not re.search(r"(\w+:)?//", value) or value == STRANGE, (tag, name)
        assert name != "src"
        assert not name.startswith("on")
        if name in ("href", "xlink:href"):
            assert value.removeprefix("#") in ids
        for reference in re.findall(r"url\((.*?)\)", value):
            assert reference.removeprefix("#") in ids
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert '<meta name="viewport" content="width=device-width' in report.source


def test_both_show_the_same_tables(report):
    tables = Page(report.source).tables
    assert tables == markdown_tables(report.markdown)
    assert all(len({len(row) for row in table}) == 1 for table in tables)


def test_pictures_are_small_and_described(report):
    page = Page(report.source)
    described = [v for t, n, v in page.attributes if (t, n) == ("svg", "role")]
    assert described == ["img"] * len(page.pictures)
    assert len(page.pictures) == page.tags.count("figcaption")
    for picture in re.findall(r"<svg.*?</svg>", report.source, re.DOTALL):
        assert len(picture) < 60_000
        assert re.search(r"<title id=.*?>\w.*?</title><desc id=.*?>\w", picture)
        assert "<metadata" not in picture
        assert "var(--font)" in picture
    expected = {"usual": 8, "profiles": 16, "hopeless": 1, "bare": 2, "empty": 0}
    if report.case in expected:
        assert len(page.pictures) == expected[report.case]


def test_no_optimizer_is_dropped(report):
    sections = Page(report.source).tables
    for each in report.report.compared:
        labels = {" ".join(e.label.split()) for e in each.plan.entries}
        for head in (f"final {each.plan.task.metric}", "class"):
            assert any({row[0] for row in t[1:]} == labels for t in sections), head
    for text in (report.source, report.markdown):
        assert "nan" not in re.sub(r"loss is nan", "", text).split()


def test_json_is_strict_and_whole(report):
    def refuse(constant):
        raise ValueError(constant)

    found = json.loads(report.report.to_json(), parse_constant=refuse)
    for each, numbers in zip(report.report.compared, found["comparisons"], strict=True):
        assert numbers["plan"]["task"]["name"] == each.plan.task.name
        assert numbers["ranking"] == list(each.summary.ranking)
        for one, fields in zip(each.summary.entries, numbers["entries"], strict=True):
            assert fields["entry"]["label"] == one.label
            assert fields["reached"] == one.reached
            if one.best_value is not None:
                assert fields["best_value"]["median"] == one.best_value.median
            assert [r["seed"] for r in fields["runs"]] == [r.seed for r in one.runs]


# What stands in them.


def test_results_of_a_comparison():
    table = table_of(Report(usual()).to_markdown(), "tuned settings")
    rows = {row[0]: dict(zip(table[0], row)) for row in table[1:]}
    assert list(rows) == ["adam", "sdprop", "sgd", "wild"]
    assert rows["adam"] == {
        "optimizer": "adam",
        "tuned settings": "learning_rate=0.01",
        "reached": "3 of 3",
        "steps to target": "150 (100 to 200)",
        "epochs to target": "3.75 (2.50 to 5.00)",
        "seconds to target": "1.50 (1.00 to 2.00)",
        "best accuracy": "0.9510 (0.9500 to 0.9520)",
        "to the best": "1.00×",
    }
    assert rows["sdprop"]["to the best"] == "1.67×, overlaps"
    assert rows["sgd"]["to the best"] == "2.67×"
    assert rows["sgd"]["reached"] == "2 of 3"
    assert rows["sgd"]["steps to target"] == "400 (350 to not reached)"
    assert rows["sgd"]["tuned settings"].endswith(" (at the edge)")
    assert rows["wild"]["reached"] == "0 of 3 (1 failed)"
    assert rows["wild"]["seconds to target"] == "not reached"
    assert rows["wild"]["best accuracy"] == "0.8500 (0.2125 to 0.8500)"


def test_costs_of_a_comparison():
    table = table_of(Report(usual()).to_markdown(), "final accuracy")
    row = dict(zip(table[0], table[1]))
    assert row["update, µs"] == "101 (100 to 102)"
    assert row["bytes a parameter"] == "8.00"
    assert row["peak memory, MiB"] == "501 (500 to 502)"
    assert row["training, s"] == "4.00"


def test_sentences_of_a_comparison():
    found = reading.sentences(usual().summary())
    assert found[0] == (
        "Fewest steps to the target: adam, 150 (100 to 200). The range of sdprop "
        "overlaps with it: these runs do not say which is better."
    )
    assert "In no run did wild reach the target." in found
    assert any(
        s.startswith("sgd: the best learning_rate is at the edge") for s in found
    )
    assert "wild: 1 of 3 test runs failed." in found
    assert any("apart in 10 % of cases" in s for s in found)


def test_failures_and_settings_are_listed():
    source = Report(usual()).to_markdown()
    failed = table_of(source, "phase")
    assert failed[1:] == [
        ["wild", "tuning", "learning_rate=0.1", "100", "loss is nan at step 60"],
        ["wild", "test", "learning_rate=0.01", "2", "loss is inf at step 123"],
    ]
    tried = table_of(source, "settings")
    assert len(tried) == 1 + 4 * 3
    assert [row[0] for row in tried if row[-1] == "chosen"] == [
        "adam",
        "sdprop",
        "sgd",
        "wild",
    ]
    assert ["adam", "learning_rate=0.01", "0.9500", "0.1500", "chosen"] in tried
    assert ["wild", "learning_rate=0.1", "–", "–", "1 failed"] in tried


def test_one_run_ranks_nothing():
    runs = []
    for label, reach in (("adam", 100), ("sgd", 400)):
        runs.append(run(label, "test", 0, curve(reach), settings={}))
    entries = [entry(label, tuned=False) for label in ("adam", "sgd")]
    made = compared(entries, runs, seeds=1)
    found = reading.sentences(made.summary())
    assert found[0].endswith("With one run of an optimizer no spread is known.")
    assert any(s.startswith("One seed says nothing") for s in found)
    stand = reading.standings(made.summary())
    assert stand["sgd"] == reading.Standing("4.00×, one run", "unclear")


def test_a_single_optimizer_is_not_compared():
    found = reading.sentences(alone().summary())
    assert found == [
        "Fewest steps to the target: adam, 200.",
        "Fewest seconds to the target: adam, 2.00.",
    ]
    assert reading.standings(alone().summary())["adam"].mark == ""


def test_without_a_target_values_are_compared():
    made = usual(target=None)
    found = reading.sentences(made.summary())
    assert found[0] == (
        "Best accuracy: adam, 0.9510 (0.9500 to 0.9520). The ranges of sdprop and sgd "
        "overlap with it: these runs do not say which is better."
    )
    stand = reading.standings(made.summary())
    assert {label: s.text for label, s in stand.items()} == {
        "adam": "best",
        "sdprop": "overlaps",
        "sgd": "overlaps",
        "wild": "behind",
    }
    table = table_of(Report(made).to_markdown(), "tuned settings")
    assert table[0][2] == "finished"
    assert table[4][2] == "2 of 3 (1 failed)"


def test_smaller_is_better():
    found = reading.sentences(losses().summary())
    assert found[0].startswith("Fewest steps to the target: adam, ")
    assert "sgd: 3 of 3 test runs failed." in found
    assert reading.standings(losses().summary())["sgd"].text == "failed"


def test_what_has_not_ended_is_said():
    source = Report(unfinished()).to_markdown()
    table = table_of(source, "tuned settings")
    rows = {row[0]: row for row in table[1:]}
    assert rows["adam"][2] == "1 of 3 (2 not run)"
    assert rows["sdprop"][1] == "tuning not ended: 1 of 3"
    assert rows["sdprop"][-1] == "no runs"
    assert "adam: 2 test runs not made yet." in source
    assert "all settings failed" in Report(hopeless()).to_markdown()
    assert "No test run has ended yet." in Report(empty()).to_markdown()


def test_machines_and_their_load():
    other = dataclasses.replace(synthetic.MACHINE, processor="Another", threads=2)
    busy = dataclasses.replace(usual().runs[0], load=9.5)
    made = usual()
    made = compared(
        made.plan.entries, [*made.runs[1:], busy], machines=(synthetic.MACHINE, other)
    )
    source = Report(made).to_markdown()
    assert "made on different machines" in source
    assert "load went up to 9.5 on 2 cores" in source
    rows = table_of(source, "backend")
    assert rows[1][1:] == [
        "torch",
        "Some <processor>, 2 cores",
        "8.00",
        "2 × 1 thread",
        "keras 3.12.0, python 3.11.2",
    ]
    calm = Report(usual()).to_markdown()
    assert "different machines" not in calm
    assert "load went up" not in calm
    assert "Nothing is known of the machine." in Report(empty()).to_markdown()


def test_another_target_is_named():
    source = Report(usual(), targets={"digits": 0.5}).to_markdown()
    assert "Target: accuracy at least 0.5000." in source
    assert "0.5000 (set for this report)" in source


def test_several_workloads_have_a_matrix_and_a_profile():
    made = Report([usual("digits"), usual("letters", target=0.8)])
    source = made.to_markdown()
    matrix = table_of(source, "digits")
    assert matrix[0] == ["optimizer", "digits", "letters"]
    assert matrix[1] == ["adam", "1.00×", "1.00×"]
    assert matrix[4][1] == "not reached"
    profile = table_of(source, "by steps")
    assert profile[1] == ["adam", "1.00", "1.00"]
    # Within a factor of 5/3 of the fastest on both, in factors from 1 to 4.
    assert profile[2] == ["sdprop", *[words.number((4 - 5 / 3) / 3)] * 2]
    assert len(made.to_dict()["performance_profiles"]) == 2


def test_why_there_is_no_profile():
    found = Report([usual("digits"), usual("letters", target=None)]).to_markdown()
    assert "no performance profile: the workload 'letters' has no target" in found
    other = synthetic.renamed(usual("letters"), "mine")
    source = Report([usual("digits"), other]).to_markdown()
    assert "must compare the same optimizers" in source
    assert ["mine", "not compared", "1.00×"] in table_of(source, "digits")


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_ranges_apart_by_chance(seeds):
    orders = list(itertools.permutations(range(2 * seeds)))
    apart = [
        not reading.overlap(
            Spread(0, min(order[:seeds]), max(order[:seeds]), seeds),
            Spread(0, min(order[seeds:]), max(order[seeds:]), seeds),
        )
        for order in orders
    ]
    assert reading.apart_by_chance(seeds) == pytest.approx(sum(apart) / len(orders))


# Words.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (0.8756, "0.876"),
        (0.9999, "1.00"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,300"),
        (0.0001234, "0.000123"),
        (0.00001234, "1.23e-5"),
        (-0.5, "-0.500"),
        (1.5e9, "1.50e9"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_numbers(value, text):
    assert words.number(value) == text


def test_words_of_spreads_and_settings():
    assert words.spread(None) == "–"
    assert words.spread(Spread(2.0, 1.0, 3.0, 3)) == "2.00 (1.00 to 3.00)"
    assert words.spread(Spread(2.0, 2.0, 2.0, 3)) == "2.00"
    times = [(5.0, 4.0, math.inf), (math.inf, 4.0, math.inf), (math.inf,) * 3]
    assert [words.to_target(Spread(*t, 3), words.count) for t in times] == [
        "5 (4 to not reached)",
        "not reached by most (first 4)",
        "not reached",
    ]
    assert words.count(12345.0) == "12,345"
    assert words.count(2.5) == "2.5"
    given = {"learning_rate": 3.1622776e-05, "nesterov": True, "kind": "a", "n": 2}
    expected = "learning_rate=3.162e-5, nesterov=true, kind=a, n=2"
    assert words.settings(given) == expected
    assert words.names(["a"]) == "a"
    assert words.names(["a", "b", "c"]) == "a, b and c"
    assert words.plural(1, "run") == "1 run"
    assert words.plural(1000, "run") == "1,000 runs"


# Pictures.


def picture(comparison, kind):
    """A picture as it stands in the page."""
    summary = comparison.summary()
    places = {e.label: i for i, e in enumerate(summary.entries)}
    draw = functools.partial(pictures.KINDS[kind].draw, summary, colours=places)
    return svg.inline(draw, "title", "text", "name")


def test_curves_are_those_of_the_runs():
    axes = plot(usual(), "steps")
    lines = {line.get_label(): line for line in axes.lines}
    adam = lines["adam (3 runs)"]
    assert list(adam.get_xdata()) == list(range(50, 401, 50))
    assert adam.get_ydata()[2] == pytest.approx(0.95)
    assert "wild (3 runs, 1 failed)" in lines
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [(c.get_xdata()[0], c.get_ydata()[0]) for c in crosses] == [(100, 0.2125)]
    targets = [line for line in axes.lines if list(line.get_ydata()) == [0.9, 0.9]]
    assert len(targets) == 1
    seconds = plot(usual(), "seconds").lines[0]
    assert list(seconds.get_xdata()) == pytest.approx(
        [x / 100 for x in range(50, 401, 50)]
    )


def test_what_diverges_does_not_flatten_the_others():
    low, high = plot(losses(), "steps").get_ylim()
    assert 0.0 < low < high < 2.0


def test_bars_reach_to_the_median():
    axes = plot(usual(), "steps-to-target")
    assert [p.get_width() for p in axes.patches] == [150, 250, 400, 400]
    assert [p.get_hatch() for p in axes.patches] == [None, None, None, "//"]
    assert [t.get_text() for t in axes.texts] == [
        "150, 3 of 3",
        "250, 3 of 3",
        "400, 2 of 3",
        "not reached, 0 of 3",
    ]
    ranges = [list(line.get_xdata()) for line in axes.lines]
    assert ranges == [[100, 200], [200, 300], [350, 400]]
    memory = plot(usual(), "memory")
    assert [p.get_width() for p in memory.patches] == pytest.approx([501] * 4)


def test_sensitivity_marks_what_failed_and_what_was_chosen():
    axes = plot(usual(), "sensitivity")
    assert axes.get_xscale() == "log"
    marks = {}
    for line in axes.lines:
        marks.setdefault(line.get_marker(), []).append(list(line.get_xdata()))
    assert marks["."][2] == [1e-4, 1e-3, 0.01]
    assert marks["x"] == [[0.1]]
    assert marks["o"] == [[0.01]] * 4


def test_a_picture_goes_into_given_axes():
    axes = pyplot.subplots()[1]
    assert plot(usual().summary(), "update", axes=axes) is axes


@pytest.mark.parametrize(
    ("made", "kind", "message"),
    [
        (usual, "curve", "argument `kind` must be one of 'steps'.*'curve'"),
        (empty, "steps", "'digits' have nothing to draw.*'steps'"),
        (alone, "sensitivity", "nothing to draw.*'sensitivity'"),
    ],
)
def test_pictures_that_there_are_not(made, kind, message):
    with pytest.raises(ValueError, match=message):
        plot(made(), kind)


def test_a_large_picture_stays_small():
    labels = [f"optimizer {number}" for number in range(18)]
    runs = [
        run(
            label,
            "test",
            seed,
            tuple(
                dataclasses.replace(
                    p, step=10 * i + 10, value=math.sin(seed + i * place)
                )
                for i, p in enumerate(curve(None)[:1] * 60)
            ),
            settings={},
        )
        for place, label in enumerate(labels)
        for seed in range(3)
    ]
    made = compared([entry(label, tuned=False) for label in labels], runs, steps=600)
    assert 10_000 < len(picture(made, "steps")) < 70_000


def test_paths_are_shortened_where_they_stay_the_same():
    path = "M 1 2 L 3 4 L 5 6 C 1 1 2 2 3 3 L 7 7 L 8 8 z L 9 9"
    assert svg._path(path) == "M 1 2 3 4 5 6 C 1 1 2 2 3 3 L 7 7 8 8 z L 9 9"


def test_pictures_do_not_depend_on_the_settings_of_the_user():
    made = picture(usual(), "steps-to-target")
    with matplotlib.rc_context({"svg.fonttype": "path", "font.size": 30}):
        assert picture(usual(), "steps-to-target") == made


def test_labels_that_matplotlib_would_hide():
    made = synthetic.renamed(usual(), "_hidden $a$")
    assert "_hidden $a$ (3 runs)" in picture(made, "steps")
    assert "_hidden $a$<" in picture(made, "steps-to-target")


# Files and errors.


def test_files_are_written_whole(tmp_path, monkeypatch):
    out = tmp_path / "deep" / "folder"
    made = Report(bare(), title="Mine & <yours>")
    paths = made.write(out)
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in paths)
    assert [p.name for p in paths] == ["report.html", "report.md", "summary.json"]
    source = paths[0].read_text("utf-8")
    assert source == made.to_html()
    assert "<title>Mine &amp; &lt;yours&gt;</title>" in source
    assert paths[1].read_text("utf-8").startswith(r"# Mine \& \<yours\>")
    assert json.loads(paths[2].read_text("utf-8"))["title"] == "Mine & <yours>"

    def broken(*args, **kwargs):
        raise OSError("no room")

    monkeypatch.setattr(svg, "inline", broken)
    with pytest.raises(OSError, match="no room"):
        Report(alone()).write(out)
    assert paths[0].read_text("utf-8") == source
    assert len(list(out.iterdir())) == 3


def test_comparisons_that_cannot_be_reported():
    with pytest.raises(ValueError, match="one comparison or more"):
        Report([])
    with pytest.raises(ValueError, match=r"different workloads.*2 of 'digits'"):
        Report([usual(), usual()])
    with pytest.raises(ValueError, match=r"`targets` has 'digit'.*Allowed: digits"):
        Report(usual(), targets={"digit": 0.5})


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_missing_extras_are_named(module, monkeypatch):
    html._environment.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    made = Report(alone())
    with pytest.raises(ImportError, match=r"pip install 'keras_adamx\["):
        made.to_html()
    assert made.to_markdown()
    assert made.to_json()
