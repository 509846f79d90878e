"""Pictures of trajectories: contours of the function and the path of each optimizer."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_adamx.plots.functions import Function, Point, View
from keras_adamx.plots.running import Trajectories, Trajectory, run
from keras_adamx.plots.style import look, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from PIL import Image

ENDINGS = (".gif", ".pdf", ".png", ".svg")
# Points of the grid along each axis, contours, and pictures of a GIF.
GRID = 241
CONTOURS = 16
FRAMES = 60
FRAME_MS, LAST_FRAME_MS = 70, 2000


class Picture:
    """A drawing of trajectories, to be shown or saved.

    Args:
        axes: The axes that hold it. `picture.axes` and `picture.figure` are
            matplotlib's own, to change what there is to change.
        paths: What was drawn.
        lines: The line of each path, by label.

    Example:
        >>> picture = keras_adamx.plots.trajectory("adam", steps=2)
        >>> picture.axes.get_title()
        'rosenbrock: (1 - x)² + 100 (y - x²)²'
    """

    def __init__(
        self, axes: Axes, paths: dict[str, Trajectory], lines: dict[str, Line2D]
    ) -> None:
        self.axes = axes
        self.figure: Figure = axes.get_figure()  # type: ignore[assignment]
        self.paths = paths
        self.lines = lines

    def save(self, path: str | os.PathLike[str], *, dpi: int = 120) -> None:
        """Write the picture into a file: .png, .svg or .pdf; as .gif it moves.

        Args:
            path: Name of the file. Its ending says what it becomes.
            dpi: Dots an inch.

        Raises:
            ValueError: The ending is none of these.
            OSError: The file cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in ENDINGS:
            raise ValueError(
                f"A picture is saved as {', '.join(ENDINGS)}. Received: "
                f"path={str(path)!r}"
            )
        if ending == ".gif":
            self._animate(path, dpi)
        elif ending == ".png":
            self._save_png(path, dpi)
        else:
            self.figure.savefig(path, dpi=dpi)

    def _save_png(self, path: Path, dpi: int) -> None:
        """A quarter of the size that matplotlib's files have, by a palette."""
        from PIL import Image

        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=dpi)
        _in_palette(Image.open(file).convert("RGB")).save(path, optimize=True)

    def _animate(self, path: Path, dpi: int) -> None:
        """The paths as they grow, then the whole for a while, and again."""
        from PIL import Image

        frames = list(self._frames(dpi))
        height, width = frames[0].shape[:2]
        # As one image they have one palette: the file is smaller, and nothing flickers.
        whole = _in_palette(Image.fromarray(np.concatenate(frames)).convert("RGB"))
        first, *others = (
            whole.crop((0, i * height, width, (i + 1) * height))
            for i in range(len(frames))
        )
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=[FRAME_MS] * len(others) + [LAST_FRAME_MS],
            loop=0,
        )

    def _frames(self, dpi: int) -> Iterator[np.ndarray]:
        """Pixels of each frame; what does not move is drawn once."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        kept, lines = (self.figure.canvas, self.figure.dpi), self.lines.values()
        points = [np.asarray(line.get_xydata()) for line in lines]
        longest = max(map(len, points))
        canvas = FigureCanvasAgg(self.figure)
        try:
            self.figure.dpi = dpi
            for line in lines:
                line.set_animated(True)
            canvas.draw()
            still = canvas.copy_from_bbox(self.figure.bbox)
            for end in np.unique(np.linspace(1, longest, FRAMES).round().astype(int)):
                canvas.restore_region(still)
                for line, whole in zip(lines, points):
                    line.set_data(*whole[:end].T)
                    line.set_markevery([min(end, len(whole)) - 1])
                    self.axes.draw_artist(line)
                yield np.array(canvas.buffer_rgba())
        finally:
            for line, whole in zip(lines, points):
                line.set_data(*whole.T)
                line.set_animated(False)
            self.figure.set_canvas(kept[0])
            self.figure.dpi = kept[1]


def _in_palette(image: Image.Image) -> Image.Image:
    """The image in 256 colours, those of thin lines too, which the default merges."""
    from PIL.Image import Quantize

    return image.quantize(method=Quantize.FASTOCTREE)


def trajectory(
    optimizers: Any,
    function: Any = "rosenbrock",
    *,
    start: Point | None = None,
    steps: int = 200,
    learning_rate: Any = None,
    view: View | None = None,
    axes: Axes | None = None,
) -> Picture:
    """Draw how optimizers descend a function of two numbers.

    Learning rates of different optimizers mean different things, and the defaults are
    meant for networks: set them.

    Args:
        optimizers: As for `run`: name, optimizer, list of these, or dictionary of
            labels and these.
        function: As for `run`: a name, a `plots.Function`, or a callable of x and y.
        start: Pair of numbers, or None for the usual start of the function.
        steps: Integer >= 1.
        learning_rate: Number or schedule for all, dictionary of labels and these, or
            None for the optimizer's own.
        view: As for `draw`.
        axes: As for `draw`.

    Returns:
        `Picture`, with `axes`, `figure` and `save(path)`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: As `run`.
        ValueError: As `run` and `draw`.

    Example:
        >>> picture = keras_adamx.plots.trajectory(
        ...     {"Adam": "adam", "heavy ball": keras_adamx.SGD(2e-4, momentum=0.9)},
        ...     steps=5,
        ...     learning_rate={"Adam": 0.05},
        ... )
    """
    pyplot()  # First of all: a descent takes longer than to find that it is missing.
    return draw(
        run(
            optimizers,
            function,
            start=start,
            steps=steps,
            learning_rate=learning_rate,
        ),
        view=view,
        axes=axes,
    )


def draw(
    trajectories: Trajectories, *, view: View | None = None, axes: Axes | None = None
) -> Picture:
    """Draw what `run` has computed.

    The legend has the value that each optimizer ends with. A path that leaves the view
    for good, or stops being finite, is drawn as far as that, and the legend says with
    which step.

    Args:
        trajectories: What `run` returned.
        view: What to show, ((x from, x to), (y from, y to)), or None for the view of
            the function, made wider where the start lies outside.
        axes: matplotlib's axes to draw into, or None for a new figure.

    Returns:
        `Picture`, with `axes`, `figure` and `save(path)`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `view` is not two pairs of growing numbers.

    Example:
        >>> found = keras_adamx.plots.run("sgd", "saddle", steps=60, learning_rate=0.2)
        >>> picture = keras_adamx.plots.draw(found)
        >>> picture.axes.get_legend().get_texts()[0].get_text()
        'sgd: leaves the view at step 30'
    """
    plt = pyplot()
    seen = _view_of(trajectories) if view is None else _checked(view)
    if axes is None:
        axes = plt.subplots(figsize=(5.6, 5.2), layout="constrained")[1]
    assert axes is not None
    function = trajectories.function
    _contours(axes, function, seen)
    lines = {}
    for position, (label, path) in enumerate(trajectories.paths.items()):
        shown, ending = _shown(path, seen)
        (lines[label],) = axes.plot(
            *shown.T,
            **look(position),
            linewidth=1.6,
            marker="o",
            markersize=5,
            markevery=[len(shown) - 1],
            label=f"{label}: {ending}",
            zorder=3,
        )
    marks: dict[str, Any] = {"color": "black", "linestyle": "none", "zorder": 4}
    axes.plot(*trajectories.start, marker="s", markersize=6, label="start", **marks)
    if function.minimum is not None:
        axes.plot(
            *function.minimum, marker="*", markersize=12, label="minimum", **marks
        )
    axes.set(xlim=seen[0], ylim=seen[1], xlabel="x", ylabel="y")
    axes.set_title(": ".join(filter(None, (function.name, function.formula))), size=10)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    return Picture(axes, trajectories.paths, lines)


def _checked(view: Any) -> View:
    try:
        (left, right), (bottom, top) = view
        if left < right and bottom < top and np.isfinite([*view[0], *view[1]]).all():
            return (left, right), (bottom, top)
    except (TypeError, ValueError):
        pass
    raise ValueError(
        "Argument `view` must be ((x from, x to), (y from, y to)) of growing, finite "
        f"numbers. Received: {view=}"
    )


def _view_of(trajectories: Trajectories) -> View:
    """The function's view; without one, what holds the paths that stay finite."""
    function = trajectories.function
    if function.view is not None:
        held = np.array([trajectories.start])
        inner = np.array(function.view)
    else:
        finite = [p.points for p in trajectories.paths.values() if not p.diverged_at]
        held = np.concatenate([[trajectories.start], *finite])
        if function.minimum is not None:
            held = np.concatenate([held, [function.minimum]])
        inner = np.stack([held.min(axis=0), held.max(axis=0)], axis=1)
    margin = 0.1 * (inner[:, 1] - inner[:, 0])
    # A picture of one point is one of its surroundings.
    margin = np.where(margin > 0.0, margin, 1.0)
    low, high = held.min(axis=0) - margin, held.max(axis=0) + margin
    if function.view is not None:
        inside = (held >= inner[:, 0]) & (held <= inner[:, 1])
        low = np.where(inside[0], inner[:, 0], np.minimum(low, inner[:, 0]))
        high = np.where(inside[0], inner[:, 1], np.maximum(high, inner[:, 1]))
    (left, bottom), (right, top) = low.tolist(), high.tolist()
    return (left, right), (bottom, top)


def _contours(axes: Axes, function: Function, view: View) -> None:
    x, y = np.meshgrid(*(np.linspace(*edges, GRID) for edges in view))
    with np.errstate(all="ignore"):
        height = np.ma.masked_invalid(function.at(x, y))
    if height.count() == 0 or height.min() == height.max():
        return
    if function.bounded:
        lowest = height.min()
        if function.minimum is not None:
            lowest = min(lowest, float(function.at(*function.minimum)))
        height = np.ma.log10(height - lowest + 1e-3 * (np.ma.median(height) - lowest))
    levels = np.linspace(height.min(), height.max(), CONTOURS)
    # Light, so that every colour of a path stands out against it.
    axes.contourf(x, y, height, levels, cmap="Greys", alpha=0.35, zorder=0)
    axes.contour(
        x,
        y,
        height,
        levels,
        colors="0.65",
        linewidths=0.5,
        linestyles="solid",
        zorder=1,
    )


def _shown(path: Trajectory, view: View) -> tuple[np.ndarray, str]:
    """The part of a path that is drawn, and how it ends, in words."""
    edges = np.array(view)
    inside = ((path.points >= edges[:, 0]) & (path.points <= edges[:, 1])).all(axis=1)
    # The step after the last point that is seen.
    left = int(np.flatnonzero(inside)[-1]) + 1 if inside.any() else 0
    shown = path.points[: left + 1]
    if path.diverged_at is not None:
        return shown, f"not finite at step {path.diverged_at}"
    if left == 0:
        return shown, "not in view"
    if left < len(path.points):
        return shown, f"leaves the view at step {left}"
    return shown, f"{path.values[-1]:.3g}"
