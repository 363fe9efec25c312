"""Bar charts as SVG, readable on light and on dark ground, with the fonts that are there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 170, 90, 64, 44
_BAR, _GAP = 16, 10
_COLORS = ("#2f81f7", "#8b949e", "#d29922")  # enough contrast on white and on black
_STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600; font-size: 15px } "
    ".faint { fill: #57606a; font-size: 12px } .grid { stroke: #8b949e; stroke-opacity: .35 } "
    "@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .faint { fill: #9da7b3 } }"
)


@dataclass(frozen=True)
class Group:
    """The bars that belong together: one value of each series, None where there is none."""

    label: str
    values: Sequence[float | None]


def bar_chart(title: str, axis: str, series: Sequence[str], groups: Sequence[Group], *, is_log: bool = False) -> str:
    """A chart of horizontal bars; `axis` names the quantity and its unit. Values are positive."""
    values = [value for group in groups for value in group.values if value]
    scale = _Scale(max(values, default=1), min(values, default=1), is_log=is_log)
    parts: list[str] = []
    y = float(_TOP)
    for group in groups:
        shown = [(number, value) for number, value in enumerate(group.values) if value]
        middle = y + _BAR * max(1, len(shown)) / 2
        parts.append(_text(_LEFT - 8, middle + 4, group.label, anchor="end"))
        for number, value in shown:
            width = scale.length(value)
            parts.append(
                f'<rect x="{_LEFT}" y="{y:g}" width="{width:.1f}" height="{_BAR - 2}" fill="{_COLORS[number]}"/>'
            )
            parts.append(_text(_LEFT + width + 6, y + _BAR - 4, shorten(value), kind="faint"))
            y += _BAR
        y += _GAP
    return _frame(title, axis, series, scale, y, parts)


def shorten(value: float) -> str:
    """Three digits where it is small, whole numbers where it is large."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class _Scale:
    """From values to pixels, from zero or, if logarithmic, from the power of ten below the smallest."""

    def __init__(self, largest: float, smallest: float, *, is_log: bool) -> None:
        self._is_log = is_log
        self._low = 10.0 ** math.floor(math.log10(smallest)) if is_log else 0.0
        step = 10.0 ** math.floor(math.log10(largest))
        if is_log:
            self._high = 10.0 ** math.ceil(math.log10(largest))
            powers = round(math.log10(self._high / self._low))
            self.ticks = [self._low * 10.0**power for power in range(powers + 1)]
        else:
            step = next(step * part for part in (0.2, 0.5, 1, 2) if largest / (step * part) <= 6)
            count = math.ceil(largest / step)
            self._high = count * step
            self.ticks = [step * number for number in range(count + 1)]

    def length(self, value: float) -> float:
        """Pixels."""
        room = _WIDTH - _LEFT - _RIGHT
        if self._is_log:
            return max(1.0, room * math.log10(value / self._low) / max(1.0, math.log10(self._high / self._low)))
        return room * value / self._high


def _frame(title: str, axis: str, series: Sequence[str], scale: _Scale, bottom: float, parts: Sequence[str]) -> str:
    size = f"{_WIDTH:g}", f"{bottom + _BOTTOM:g}"
    shape = f'width="{size[0]}" height="{size[1]}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" {shape} role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        _text(8, 22, title, kind="title"),
    ]
    x = float(_LEFT)
    for number, name in enumerate(series if len(series) > 1 else ()):
        lines.append(f'<rect x="{x:g}" y="38" width="12" height="12" fill="{_COLORS[number]}"/>')
        lines.append(_text(x + 18, 49, name, kind="faint"))
        x += 40 + 7.5 * len(name)
    for tick in scale.ticks:
        at = _LEFT + (scale.length(tick) if tick else 0)
        lines.append(f'<line class="grid" x1="{at:.1f}" y1="{_TOP - 6}" x2="{at:.1f}" y2="{bottom:g}"/>')
        lines.append(_text(at, bottom + 16, shorten(tick), anchor="middle", kind="faint"))
    lines.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 36, axis, anchor="middle", kind="faint"))
    return "\n".join([*lines, *parts, "</svg>", ""])


def _text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of_kind}>{escape(words)}</text>'
