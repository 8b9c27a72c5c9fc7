"""The files of examples/monitoring: they name metrics and fields that there are, and Prometheus reads them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS
from hostfw.daemon.metrics import text as metrics

_FOLDER = Path(__file__).parents[3] / "examples/monitoring"
_AUDIT = (_FOLDER.parents[1] / "docs/audit.md").read_text()
_DASHBOARD = json.loads((_FOLDER / "grafana-dashboard.json").read_text())
_OF_OTHERS = {"node_textfile_mtime_seconds"}
_PROMTOOL = shutil.which("promtool")


def _alerts() -> list[Mapping[str, str]]:
    (group,) = yaml.safe_load((_FOLDER / "alerts.yml").read_text())["groups"]
    rules = group["rules"]
    assert isinstance(rules, list)
    return rules


def _queries() -> Iterator[tuple[str, str]]:
    """The title of a panel and one of its queries to Prometheus."""
    for panel in _DASHBOARD["panels"]:
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                yield panel["title"], target["expr"]


def _metrics() -> set[str]:
    """The names of all metrics: those of the service as it writes them, and those of counters as it names them."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    figures = metrics.Figures("1", now, "g", now, {"policies": 1}, 0, False, "applied", now, now)
    names = set(re.findall(r"^# TYPE (\w+)", metrics.metrics_text(figures, (), {}), re.MULTILINE))
    for traffic in ("rule", "staged_rule", "drop", "failsafe", "unaccounted"):
        names |= {f"hostfw_{traffic}_packets_total", f"hostfw_{traffic}_bytes_total"}
    assert LOG_RECORDS
    return names | {"hostfw_log_records_total", "hostfw_log_suppressed_total"}


def test_every_metric_that_is_asked_for_is_written() -> None:
    """By alerts and by panels; a metric that nobody writes makes an alert that never fires."""
    asked = [*(rule["expr"] for rule in _alerts()), *(query for _, query in _queries())]
    named = {name for query in asked for name in re.findall(r"\b(?:hostfw|node)_\w+", query)}

    assert named - _metrics() - _OF_OTHERS == set()
    assert len(named) > 15


def test_the_source_names_the_metrics_of_counters() -> None:
    """The names that `_metrics` makes of their parts are those that metrics/text.py makes."""
    source = Path(metrics.__file__).read_text()

    for name in ("rule", "staged_rule", "drop", "failsafe", "unaccounted"):
        assert f'_traffic("{name}"' in source
    assert '_samples("log_records_total"' in source
    assert '_samples("log_suppressed_total"' in source


def test_every_alert_fires_in_its_test_and_says_what_to_do() -> None:
    """`promtool test rules` runs them, where it is installed."""
    tested = (_FOLDER / "alerts-test.yml").read_text()

    for rule in _alerts():
        assert f'alertname="{rule["alert"]}"' in tested
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.skipif(_PROMTOOL is None, reason="promtool is in Debian's package prometheus")
def test_prometheus_takes_the_alerts_and_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """Their tests pass, and each query of a panel is one of PromQL."""
    assert _PROMTOOL is not None
    queries = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, (_, query) in enumerate(_queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": queries}]}))

    for words in (["check", "rules", str(path)], ["test", "rules", "alerts-test.yml"]):
        done = subprocess.run([_PROMTOOL, *words], check=False, cwd=_FOLDER, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_places_and_variables_of_their_own() -> None:
    """No panel covers another one, and every variable that a query names is one of the dashboard's."""
    cells = [
        (x, y)
        for panel in _DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    named = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(_DASHBOARD["panels"])))

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert named - {"__rate_interval"} == {variable["name"] for variable in _DASHBOARD["templating"]["list"]}


def test_vector_keeps_fields_that_the_journal_has() -> None:
    """Each part takes its input from another one; labels and the dashboard are made of fields that are documented."""
    config = yaml.safe_load((_FOLDER / "vector.yaml").read_text())
    parts = {**config["sources"], **config["transforms"]}
    fields = {name.lower() for name in re.findall(r"`HOSTFW_(\w+)`", _AUDIT)} | {"host", "message"}
    labels = config["sinks"]["loki"]["labels"]

    for part in (*config["transforms"].values(), *config["sinks"].values()):
        assert set(part["inputs"]) <= set(parts)
    assert {value.strip("{ }") for value in labels.values() if "{" in value} <= fields
    asked = [
        target["expr"] for panel in _DASHBOARD["panels"] for target in panel["targets"] if "job=" in target["expr"]
    ]
    assert asked
    for query in asked:
        assert set(re.findall(r"(\w+)=\"", query.partition("|")[0])) <= set(labels)
        assert set(re.findall(r"\.(\w+)\}", query)) <= fields
