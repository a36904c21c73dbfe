"""
Kinds of panels, each with the looks that it has on every dashboard.

A panel answers one question, which is its description.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Runs, attempts or commits per second.
PER_SECOND = units.CountsPerSecond
WIDTH = 24


@dataclass(frozen=True, slots=True)
class Question:
    """What a panel is called, what it answers, and in which unit."""

    title: str
    answers: str
    unit: str = units.Short


@dataclass(frozen=True, slots=True)
class Series:
    """An expression, and how its series are called in the legend."""

    expression: str
    legend: str


def lines(question: Question, *series: Series) -> timeseries.Panel:
    """Values over time."""
    panel = (
        timeseries.Panel()
        .title(question.title)
        .description(question.answers)
        .unit(question.unit)
        .datasource(SOURCE)
        .min(0)
        .line_width(1)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(_tooltip())
    )
    for name, each in zip(ascii_uppercase, series, strict=False):
        panel.with_target(_query(name, each))
    return panel


def stacked(question: Question, *series: Series) -> timeseries.Panel:
    """Parts of a whole over time."""
    stacking = common_builders.StackingConfig().mode(common.StackingMode.NORMAL)
    return lines(question, *series).fill_opacity(40).stacking(stacking)


def number(question: Question, expression: str, *steps: tuple[float, str]) -> stat.Panel:
    """One number as it is now; *steps* are the values from which on it has another colour."""
    last = common_builders.ReduceDataOptions().calcs(["lastNotNull"])
    return (
        stat.Panel()
        .title(question.title)
        .description(question.answers)
        .unit(question.unit)
        .datasource(SOURCE)
        .no_value("none")
        .thresholds(_thresholds(steps))
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(last)
        .with_target(_query("A", Series(expression, question.title)))
    )


def heat(question: Question, buckets: str) -> heatmap.Panel:
    """How observations are spread over the buckets of a histogram, over time."""
    spread = f"sum by (le) (increase({buckets}[$__rate_interval]))"
    query = _query("A", Series(spread, "{{le}}")).format(PromQueryFormat.HEATMAP)
    scheme = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME)
    return (
        heatmap.Panel()
        .title(question.title)
        .description(question.answers)
        .unit(units.Short)
        .datasource(SOURCE)
        .calculate(False)
        .color(scheme.scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(question.unit).axis_placement(common.AxisPlacement.LEFT))
        .with_target(query)
    )


def listing(
    question: Question, expression: str, hidden: Sequence[str] = (), value: str = "Value"
) -> table.Panel:
    """A row for each series as it is now: labels without the *hidden* ones, and the *value*."""
    query = _query("A", Series(expression, "")).format(PromQueryFormat.TABLE)
    columns = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {},
        "renameByName": {"Value": value},
    }
    return (
        table.Panel()
        .title(question.title)
        .description(question.answers)
        .unit(question.unit)
        .datasource(SOURCE)
        .with_target(query.instant())
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=columns))
    )


def _query(name: str, series: Series) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(name)
        .datasource(SOURCE)
        .expr(series.expression)
        .legend_format(series.legend)
        .range()
    )


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
        .sort_by("Last *")
        .sort_desc(True)
    )


def _tooltip() -> common_builders.VizTooltipOptions:
    return (
        common_builders.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )


def _thresholds(steps: Sequence[tuple[float, str]]) -> dashboard.ThresholdsConfig:
    first = models.Threshold(value=None, color="text")
    further = [models.Threshold(value=value, color=color) for value, color in steps]
    return (
        dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([first, *further])
    )
