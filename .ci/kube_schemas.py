"""
JSON schemas for kubeconform, made from the sources of Kubernetes and of two operators.

`python .ci/kube_schemas.py FOLDER` needs Go, which downloads the modules and checks them, and
PyYAML (of yamllint). kubeconform's own schemas come from a web site; these come from a module
proxy. A schema refuses fields that Kubernetes does not know: a misspelt one would be dropped in
silence.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = "k8s.io/kubernetes@v1.37.2"
KEDA = "github.com/kedacore/keda/v2@v2.21.0"
PROMETHEUS = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
#: Custom resources that the chart can make: files below their module.
CUSTOM = (
    (KEDA, "config/crd/bases/keda.sh_*.yaml"),
    (PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"),
    (PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"),
    (PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"),
)
_ANY_FIELDS = "x-kubernetes-preserve-unknown-fields"
_NUMBER_OR_TEXT: dict[str, Any] = {"oneOf": [{"type": "string"}, {"type": "number"}]}
#: Types that the specification calls texts, and that manifests may write as numbers.
_NUMBERS = (
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
)


def module(name: str) -> Path:
    """Return the folder of a Go module, downloaded and checked by Go."""
    command = ["go", "mod", "download", "-json", name]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return Path(json.loads(found.stdout)["Dir"])


def closed(node: Any) -> Any:
    """Return a part of a schema in which no object takes fields that it does not name."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string") or node.get("format") == "int-or-string":
        return _NUMBER_OR_TEXT
    kept = {name: closed(part) for name, part in node.items() if not name.startswith("x-")}
    has_fields = isinstance(node.get("properties"), dict)
    if has_fields and "additionalProperties" not in node and not node.get(_ANY_FIELDS):
        kept["additionalProperties"] = False
    return kept


def needed(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the definitions that *name* refers to, itself included."""
    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = definitions[each]
            waiting += re.findall(r'"#/definitions/([^"]+)"', json.dumps(definitions[each]))
    return found


def own(swagger: Path) -> Iterator[tuple[str, Any]]:
    """Yield Kubernetes' own kinds: the name that kubeconform looks for, and the schema."""
    raw = json.loads(swagger.read_text())["definitions"]
    definitions = {name: closed(node) for name, node in raw.items()}
    definitions.update(dict.fromkeys(_NUMBERS, _NUMBER_OR_TEXT))
    for name, node in raw.items():
        match node.get("x-kubernetes-group-version-kind"):
            case [{"group": group, "version": version, "kind": kind}] if "properties" in node:
                fields = {
                    **definitions[name]["properties"],
                    "apiVersion": {"const": f"{group}/{version}".removeprefix("/")},
                    "kind": {"const": kind},
                }
                required = {*node.get("required", ()), "apiVersion", "kind"}
                yield (
                    "-".join(filter(None, (kind.lower(), group.partition(".")[0], version))),
                    {
                        **definitions[name],
                        "properties": fields,
                        "required": sorted(required),
                        "definitions": needed(name, definitions),
                    },
                )


def custom(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield the kinds of a file of custom resource definitions, likewise."""
    for crd in yaml.safe_load_all(file.read_text()):
        spec = (crd or {}).get("spec", {})
        for version in spec.get("versions", ()):
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            kind, group = spec["names"]["kind"].lower(), spec["group"].partition(".")[0]
            yield f"{kind}-{group}-{version['name']}", schema


def main(folder: Path) -> None:
    """Write all schemas to *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    schemas = dict(own(module(KUBERNETES) / "api" / "openapi-spec" / "swagger.json"))
    for name, files in CUSTOM:
        for file in module(name).glob(files):
            schemas.update(custom(file))
    for name, schema in schemas.items():
        (folder / f"{name}.json").write_text(json.dumps(schema))
    sys.stdout.write(f"{len(schemas)} schemas of Kubernetes, KEDA and the Prometheus operator\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
