"""
What all dashboards have: variables, links to the others, alerts drawn over the graphs.

Values of variables come from metrics, and are asked for again when the time range changes: a step
group that came today is there without a reload of the page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from boards.panels import SOURCE, WIDTH

TAG = "fleet"
#: Only the exporter knows a group without workers.
_GROUPS = '{{__name__=~"fleet_slots|fleet_lag_records", {matchers}}}'
_FLEET = 'namespace=~"$namespace", job=~"$job"'
_ALL = models.VariableOption(selected=True, text="All", value="$__all")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its panels, *wide* of which fill a line."""

    title: str
    wide: int
    panels: Sequence[Builder[models.Panel]]
    height: int = 8


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard; `name` is what addresses have, and stays."""

    name: str
    title: str
    about: str
    variables: Sequence[dashboard.QueryVariable]
    sections: Sequence[Section]

    def build(self) -> models.Dashboard:
        """Return the dashboard as Grafana knows it."""
        built = (
            dashboard.Dashboard(self.title)
            .uid(self.name)
            .description(self.about)
            .tags([TAG])
            .readonly()
            .timezone("browser")
            .time("now-1h", "now")
            .refresh("30s")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .variables([_source(), *self.variables])
            .link(_others())
            .annotation(_alerts())
            .build()
        )
        built.panels = list(_placed(self.sections))
        return built


def namespace() -> dashboard.QueryVariable:
    """Kubernetes' namespace; where the series have none, all there is."""
    return _several("namespace", "Namespace", "label_values(fleet_build_info, namespace)")


def job() -> dashboard.QueryVariable:
    """Scrape job: workers and exporter."""
    metrics = '{__name__=~"fleet_build_info|fleet_exporter_up", namespace=~"$namespace"}'
    return _several("job", "Job", f"label_values({metrics}, job)")


def workflow() -> dashboard.QueryVariable:
    """One workflow."""
    metrics = _GROUPS.format(matchers=_FLEET)
    return _variable("workflow", "Workflow", f"label_values({metrics}, workflow)")


def groups() -> dashboard.QueryVariable:
    """Step groups of the workflow."""
    return _several("group", "Step group", _groups_of_workflow())


def group() -> dashboard.QueryVariable:
    """One step group of the workflow."""
    return _variable("group", "Step group", _groups_of_workflow())


def steps() -> dashboard.QueryVariable:
    """Steps of the workflow that were attempted."""
    matchers = f'{_FLEET}, workflow="$workflow", group=~"$group"'
    return _several("step", "Step", f"label_values(fleet_step_attempts_total{{{matchers}}}, step)")


def instances() -> dashboard.QueryVariable:
    """Workers of the step group."""
    matchers = f'{_FLEET}, workflow="$workflow", group="$group"'
    return _several("instance", "Worker", f"label_values(fleet_slots{{{matchers}}}, instance)")


def _groups_of_workflow() -> str:
    metrics = _GROUPS.format(matchers=f'{_FLEET}, workflow="$workflow"')
    return f"label_values({metrics}, group)"


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"qryType": 1, "query": query, "refId": f"variable-{name}"})
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _several(name: str, label: str, query: str) -> dashboard.QueryVariable:
    # `.*` for all, which also takes series without the label, as they are outside of Kubernetes.
    chosen = _variable(name, label, query).include_all(True).all_value(".*")
    return chosen.multi(True).current(_ALL)


def _source() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Fleet")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )


def _alerts() -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr('ALERTS{alertname=~"Fleet.+", alertstate="firing", namespace=~"$namespace"}')
        .title_format("{{alertname}}")
        .text_format("{{workflow}} {{group}} {{step}}")
        .step("60s")
    )


def _placed(sections: Iterable[Section]) -> Iterable[models.Panel | models.RowPanel]:
    """Yield headings and panels with their places, numbered."""
    number, y = 1, 0
    for section in sections:
        heading = dashboard.Row(section.title).id(number).build()
        heading.grid_pos = models.GridPos(x=0, y=y, w=WIDTH, h=1)
        yield heading
        width = WIDTH // section.wide
        for index, each in enumerate(section.panels):
            line, column = divmod(index, section.wide)
            panel = each.build()
            panel.id_val = number + 1 + index
            top = y + 1 + line * section.height
            panel.grid_pos = models.GridPos(x=column * width, y=top, w=width, h=section.height)
            yield panel
        number += 1 + len(section.panels)
        y += 1 + section.height * -(-len(section.panels) // section.wide)
