"""The alert rules and the dashboard: every alert fires in a test of promtool, and every query runs in a Prometheus that scrapes a
real server."""

from __future__ import annotations

import json
import re
import shutil
import socketserver
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml
from conftest import REPOSITORY
from footprint import PATIENCE, Process, free_port

RULES = REPOSITORY / "deploy" / "prometheus" / "alerts.yml"
CASES = sorted(RULES.parent.glob("*.test.yml"))
DASHBOARD = json.loads((REPOSITORY / "deploy" / "grafana" / "josoor-auth.json").read_text())
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
# What has no value before it has happened, or only in one footprint.
MAY_BE_EMPTY = {
    "Failing share",
    "Refusals by limit",
    "Met a spent budget",
    "Redis answers",
    "Age of the signing key",
    "Age of the latest backup",
    "Spans of traces by outcome",
}


def documented() -> set[str]:
    """The series of docs/reference/metrics.md, which the server's own tests hold to what it gives."""
    text = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    names = set()
    for name, kind in re.findall(r"^\| `(josoor_auth_\w+)` \| (\w+) \|", text, re.MULTILINE):
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"josoor_auth_\w+", expression))


def program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing; scripts/setup-tests installs it"
    return path


def test_rules_and_dashboard_name_metrics_that_there_are():
    known = documented()
    assert len(known) > 20 and len(QUERIES) > 25 and len(ALERTS) > 10
    for title, expression in [*QUERIES, *((rule["alert"], rule["expr"]) for rule in ALERTS)]:
        assert names_in(expression) <= known, f"{title}: {names_in(expression) - known}"
    shown = set().union(*(names_in(expression) for _, expression in QUERIES))
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    assert {re.sub(r"_bucket$", "", name) for name in shown} >= bases - {"josoor_auth_http_requests"}, "a metric that no panel shows"


def test_every_alert_fires_and_is_quiet():
    subprocess.run([program("promtool"), "check", "rules", RULES], check=True)
    for cases in CASES:
        subprocess.run([program("promtool"), "test", "rules", cases.name], cwd=cases.parent, check=True)
    fired, quiet = set(), set()
    for cases in CASES:
        for case in yaml.safe_load(cases.read_text())["tests"]:
            for expected in case["alert_rule_test"]:
                (fired if expected["exp_alerts"] else quiet).add(expected["alertname"])
    names = {rule["alert"] for rule in ALERTS}
    assert fired == names and quiet == names
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["action"]


@pytest.mark.parametrize("footprint", ["sqlite", "postgres_redis"])
def test_every_query_runs_in_a_prometheus(start_server, footprint: str, directory: Path):
    scraped, port = free_port(), free_port()
    receiver = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    settings = {
        "JOSOOR_AUTH__METRICS__BIND": f"127.0.0.1:{scraped}", "JWT_ALGORITHM": "EdDSA",
        "JOSOOR_AUTH__AUDIT__SYSLOG": f"syslog+tcp://127.0.0.1:{receiver.server_address[1]}",
    }  # fmt: skip
    if footprint == "sqlite":
        settings["JOSOOR_AUTH__BACKUP__EVERY"] = "1d"
    server = start_server(footprint, **settings)
    place = directory / f"prometheus-{footprint}"
    place.mkdir(mode=0o700)
    job = {"job_name": "josoor-auth", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}
    (place / "prometheus.yml").write_text(yaml.safe_dump({"rule_files": [str(RULES)], "scrape_configs": [job]}))
    command = [program("prometheus"), f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data"]
    prometheus = Process([*command, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], place / "log")
    api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30, trust_env=False)

    def query(expression: str) -> list:
        for variable, value in (("$job", "josoor-auth"), ("$__rate_interval", "1m")):
            expression = expression.replace(variable, value)
        answer = api.get("/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        return answer.json()["data"]["result"]

    def work() -> None:
        """What moves each counter."""
        account = {"email": f"{time.monotonic_ns()}@example.com", "password": server.remember("a sentence is easy to remember")}
        server.client.post("/auth/register", json=account).raise_for_status()
        server.client.post("/auth/login", json={**account, "password": "another sentence"})
        tokens = server.client.post("/auth/login", json=account).json()
        for token in ("access_token", "refresh_token"):
            server.remember(tokens[token])
        renewed = server.client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).json()
        bearer = {"Authorization": f"Bearer {server.remember(renewed['access_token'])}"}
        server.remember(renewed["refresh_token"])
        server.client.get("/auth/me", headers=bearer).raise_for_status()
        server.client.post("/auth/logout", headers=bearer, json={}).raise_for_status()

    try:
        work()
        end = time.monotonic() + PATIENCE
        while True:
            work()
            if prometheus.is_running() and port_answers(api):
                empty = {title for title, expression in QUERIES if not query(expression)} - MAY_BE_EMPTY
                if not empty:
                    break
            assert time.monotonic() < end, f"no data for {empty}\n{prometheus.read_log()}"
            time.sleep(0.5)
        if footprint == "sqlite":
            assert query(dict(QUERIES)["Age of the latest backup"]), "the service has made a backup"
        else:
            assert query(dict(QUERIES)["Redis answers"])
        assert query(dict(QUERIES)["Age of the signing key"])
        rules = [rule for group in api.get("/rules").json()["data"]["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == {rule["alert"] for rule in ALERTS}
        for rule in ALERTS:
            assert query(rule["expr"]) == [], f"{rule['alert']} would fire on a healthy service"
    finally:
        api.close()
        prometheus.stop()
        faults = server.stop_and_judge()
        receiver.shutdown()
        receiver.server_close()
    assert not faults, faults


class Receiver(socketserver.BaseRequestHandler):
    """Takes what the audit trail sends."""

    def handle(self) -> None:
        while self.request.recv(65536):
            pass


def port_answers(api: httpx.Client) -> bool:
    try:
        return api.get("/query", params={"query": "1"}).status_code == 200
    except httpx.TransportError:
        return False
