"""docker-compose.yml: valid, and every service's own command runs with its environment against real servers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.servers import free_port, postgresql, redis_server

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PASSWORD = "p@ss/w#rd %41?:&"  # everything that means something in an address
OURS = ("migrate", "backend", "worker", "robot")


def test_it_is_valid_by_the_compose_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_names_is_there() -> None:
    for name in OURS:
        build = COMPOSE["services"][name].get("build")
        if build is not None:
            text = (ROOT / build["dockerfile"]).read_text()
            assert f" AS {build['target']}" in text
    for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), f"{line}: there is no {source}"
    wanted = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))
    assert wanted == given


def _interpolate(value: str, given: dict[str, str]) -> str:
    """${NAME}, ${NAME:-default} and ${NAME:?error}, as Compose reads them."""

    def fill(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(":-")
        return given.get(name.partition(":?")[0]) or default

    return re.sub(r"\$\{([^}]+)\}", fill, value)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[tuple[str, dict[str, subprocess.Popen[str]]]]:
    """Every service of ours as a plain process; hosts of the network become loopback ports."""
    processes: dict[str, subprocess.Popen[str]] = {}
    (tmp_path / "postgres").mkdir()
    (tmp_path / "redis").mkdir()
    with (
        postgresql(tmp_path / "postgres", password=PASSWORD) as sql_port,
        redis_server(tmp_path / "redis") as redis_port,
    ):
        port, robot_port = free_port(), free_port()
        places = {
            "@postgres:5432": f"@127.0.0.1:{sql_port}",
            "//redis:6379": f"//127.0.0.1:{redis_port}",
            "robot:8100": f"127.0.0.1:{robot_port}",
            "/data": str(tmp_path / "data"),
            "/imports": str(tmp_path / "imports"),
            "/models": str(tmp_path / "models"),
        }
        ports = {"8000": str(port), "8100": str(robot_port), "0.0.0.0": "127.0.0.1"}
        for name in OURS:
            service = COMPOSE["services"][name]
            environment = dict(os.environ)
            for key, value in service["environment"].items():
                value = _interpolate(str(value), {"POSTGRES_PASSWORD": PASSWORD})
                for place, here in places.items():
                    value = value.replace(place, here)
                environment[key] = value
            command = [ports.get(word, word) for word in service["command"]]
            assert command[0] == "studio"
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.cli", *command[1:]],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            processes[name] = process
            if name == "migrate":
                output, _ = process.communicate(timeout=120)
                assert process.returncode == 0, output
        yield f"http://127.0.0.1:{port}", processes
        for process in processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for name, process in processes.items():
            output, _ = process.communicate(timeout=60)
            assert process.returncode in {0, -signal.SIGTERM}, f"{name}: {output}"


def test_the_services_find_each_other(team: tuple[str, dict[str, subprocess.Popen[str]]]) -> None:
    address, processes = team
    deadline = time.monotonic() + 180
    health: dict[str, Any] = {}
    while not (health.get("status") == "ok" and health.get("workers") and health.get("robots")):
        for name, process in processes.items():
            assert name == "migrate" or process.poll() is None, f"{name}: {process.stdout and process.stdout.read()}"
        assert time.monotonic() < deadline, health
        time.sleep(0.2)
        try:
            with urllib.request.urlopen(f"{address}/api/health", timeout=5) as answer:
                health = json.load(answer)
        except OSError:
            continue
    backend = processes["backend"].stdout
    assert backend is not None
    said = next(line for line in backend if line.startswith("Studio ready"))  # as soon as it answers
    assert said.startswith(f"Studio ready: {address}/setup?token=")
