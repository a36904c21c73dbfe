"""What a page of metrics says."""

import json
import urllib.error
import urllib.request
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


def families(page: str) -> dict[str, Metric]:
    """Return the metrics of ours on a page, as a query names them."""
    found = text_string_to_metric_families(page)
    named = {f"{each.name}_total" if each.type == "counter" else each.name: each for each in found}
    # The client shows beside each counter and histogram when it was made.
    ours = (name for name in named if name.startswith("fleet_") and not name.endswith("_created"))
    return {name: named[name] for name in ours}


def value(page: str, name: str, **labels: str) -> float:
    """Return the sum of a series' samples that have these labels."""
    return sum(
        sample.value
        for metric in families(page).values()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def status(port: int, path: str) -> tuple[int, Any]:
    """Return the code and the JSON of a worker's page; code 0 without an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())
    except OSError:
        return 0, None
