"""Build the images of docker-compose.yml and run each service's own command in its image, as its user, without Docker.

    .venv/bin/python scripts/try_images.py [--built]      --built: take the images as they are

A network of its own, in which Compose's names are this machine: nothing of the file is changed. PostgreSQL and Redis
are real ones, as `make test` installs them, and the password holds what means something in an address. Migrate ends in
order; the API says that it is well, by its own health check too; the robot holds with moving frames of three cameras;
a demonstration is recorded, made into a version and trained on; record and eval run in the worker's image. Needs root
and buildah (installed with apt where it is missing); says in one line why not elsewhere, exit status 77.
"""

import argparse
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from studio_client import CAMERAS, READY, Refused, StudioClient, until  # noqa: E402

from tests.support.servers import postgresql, redis_server  # noqa: E402

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = ("migrate", "backend", "worker", "robot")
PASSWORD = "p@ss/w#rd %41?:&"
ENVIRONMENT = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
INSIDE = "--inside"  # this program again, in the network of its own


def cannot(reason: str) -> NoReturn:
    print(f"images: not tried here: {reason}", file=sys.stderr)
    sys.exit(77)


def say(line: str) -> None:
    print(f"images: {line}", flush=True)


def buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"buildah {' '.join(arguments[:3])}: {done.stderr.strip()[-1500:]}")
    return done.stdout.strip()


# --- outside: what is needed, and the images ---------------------------------------------------------------------


def prepare(*, built: bool) -> None:
    if sys.platform != "linux" or os.getuid() != 0:
        cannot("it takes Linux and root to build images and to give them a network of their own")
    if shutil.which("buildah") is None:
        install = (
            "apt-get update -qq && "
            "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah"
        )
        if shutil.which("apt-get") is None or subprocess.run(install, shell=True, capture_output=True).returncode:
            cannot("there is no buildah, and it cannot be installed")
    if subprocess.run(["unshare", "--net", "--pid", "--fork", "true"], capture_output=True).returncode:
        cannot("this machine does not allow namespaces")
    if built:
        return
    targets = [target for target in dict.fromkeys(map(target_of, OURS))]
    tool = ROOT.parent / "shared" / "tools" / "build-images"  # a workplace's own way, where no registry can be reached
    if tool.is_file():
        if subprocess.run([str(tool), str(ROOT), *targets]).returncode:
            raise Refused("the images cannot be built")
        return
    for target in targets:
        command = ["buildah", "bud", "--target", target, "--tag", image_of(target)]
        done = subprocess.run(
            [*command, "--file", "deploy/Dockerfile", "."], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        if done.returncode and re.search(r"(pinging|initializing source|registry)", done.stderr):
            cannot(f"the base images cannot be had: {done.stderr.strip().splitlines()[-1][:300]}")
        if done.returncode:
            raise Refused(f"the image {target} cannot be built: {done.stderr.strip()[-1500:]}")


def image_of(target: str) -> str:
    return f"localhost/dexvla-studio:{target}"


def target_of(service: str) -> str:
    """The target of the Dockerfile that makes the service's image; several services share one."""
    image = COMPOSE["services"][service]["image"]
    return next(
        str(one["build"]["target"])
        for one in COMPOSE["services"].values()
        if one.get("image") == image and "build" in one
    )


# --- inside: servers and services ----------------------------------------------------------------------------------


def loopback_up() -> None:
    with socket.socket() as any_socket:
        flags = struct.pack("16sh22x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, flags)  # SIOCSIFFLAGS


def interpolated(value: str) -> str:
    """As Compose does: ${NAME:-default}, ${NAME:?error}; of the names only the password is given."""

    def fill(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(":-")
        return PASSWORD if name.partition(":?")[0] == "POSTGRES_PASSWORD" else default

    return re.sub(r"\$\{([^}]+)\}", fill, value)


class Service:
    """A container of one service and the command that runs in it."""

    def __init__(self, name: str, data: Path) -> None:
        self.name, self._definition = name, COMPOSE["services"][name]
        hosts = [f"--add-host={host}:127.0.0.1" for host in COMPOSE["services"]]
        self.container = buildah("from", "--pull=never", *hosts, image_of(target_of(name)))
        volumes = {"studio": data}
        self._options: list[str] = []
        for volume in self._definition["volumes"]:
            source, target, *mode = interpolated(volume).split(":")
            # what an image declares as a volume would hide this one in some of buildah's runs
            buildah("config", "--volume", f"{target}-", self.container)
            here = volumes.get(source) or data.parent / Path(source).name
            here.mkdir(exist_ok=True)
            os.chown(here, 1000, 1000)  # as Compose gives a new volume to the owner of the image's folder
            self._options += ["--volume", ":".join([str(here), target, *mode])]
        for key, value in self._definition["environment"].items():
            self._options += ["--env", f"{key}={interpolated(str(value))}"]
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another command in the same container, to its end."""
        return subprocess.run(self._command(*command), capture_output=True, text=True)

    def start(self) -> None:
        """Its own command, word by word."""
        self.process = subprocess.Popen(
            self._command(*self._definition["command"]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _command(self, *command: str) -> list[str]:
        return ["buildah", "run", "--isolation", "chroot", *self._options, self.container, "--", *command]

    def _listen(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def said(self, beginning: str) -> str | None:
        """The rest of a line that begins so. Raises Refused if the service has ended."""
        self.must_run()
        return next((line.removeprefix(beginning) for line in list(self.lines) if line.startswith(beginning)), None)

    def must_run(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            raise Refused(f"{self.name} ended with status {self.process.returncode}: " + "\n".join(self.lines[-15:]))

    def owners(self) -> set[int]:
        """User ids of the processes that run its command."""
        return {process.uids().real for process in self._processes()}

    def _processes(self) -> list[psutil.Process]:
        """Those of Python whose arguments end so, the first one first."""
        words, found = self._definition["command"][1:], []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                arguments = process.cmdline()
                if arguments and "python" in arguments[0] and arguments[-len(words) :] == words:
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def stop(self) -> None:
        """As Compose does, with SIGTERM for the service's first process; it must end in order."""
        assert self.process is not None
        self.must_run()
        for process in self._processes()[:1]:
            process.terminate()
        status = self.process.wait(60)
        self._listener.join(10)
        # uvicorn ends in order and then by the signal that it was asked with, which buildah tells in words alone
        if status not in (0, 128 + signal.SIGTERM) and "subprocess exited on terminated" not in self.lines:
            raise Refused(f"{self.name} ended with status {status} when it was asked to stop: {self.lines[-10:]}")

    def remove(self) -> None:
        """Whatever becomes of it. Its processes are the service's user's, and this namespace holds nobody else's."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.uids().real == 1000:
                    process.kill()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        subprocess.run(["buildah", "rm", self.container], capture_output=True)


@contextmanager
def services(data: Path) -> Iterator[dict[str, Service]]:
    with ExitStack() as stack:
        made = {}
        for name in OURS:
            made[name] = Service(name, data)
            stack.callback(made[name].remove)
        yield made


def tell(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
    """What was wrong is said before everything is stopped, which takes its time."""
    if error is not None:
        say(f"WRONG: {error or kind}")


def inside() -> None:
    loopback_up()
    with tempfile.TemporaryDirectory(prefix="images-", dir="/var/tmp") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        folder.chmod(0o755)
        for name in ("postgres", "redis"):
            (folder / name).mkdir()
        stack.enter_context(postgresql(folder / "postgres", password=PASSWORD, port=5432))
        stack.enter_context(redis_server(folder / "redis", port=6379))
        team = stack.enter_context(services(folder / "data"))
        stack.push(tell)

        migrate = team["migrate"]
        migrate.start()
        assert migrate.process is not None
        if migrate.process.wait(300):
            raise Refused(f"migrate ended with status {migrate.process.returncode}: " + "\n".join(migrate.lines[-15:]))
        say("migrate ended in order")
        running = [team[name] for name in OURS[1:]]
        for service in running:
            service.start()
        address = until(lambda: team["backend"].said(READY), "the API says where it is", seconds=300)
        studio = StudioClient(address.replace("0.0.0.0", "127.0.0.1"))

        def well() -> Any:
            for service in running:
                service.must_run()
            return studio.healthy()

        say(f"health: {until(well, 'health is ok', seconds=300)}")
        for service in running:
            if service.owners() != {1000}:
                raise Refused(f"{service.name} runs as {service.owners() or 'nobody that was found'}, not as its user")
        check = COMPOSE["services"]["backend"]["healthcheck"]["test"][1:]
        until(lambda: not team["backend"].run(*check).returncode, "the API's own health check agrees", seconds=120)
        studio.set_up()
        page = studio.request("GET", "/")
        if b"<script" not in page:
            raise Refused("the API's image does not serve the page")
        status = until(studio.holding, "the robot holds", seconds=120)
        if {camera["name"] for camera in status["cameras"]} != CAMERAS:
            raise Refused(f"the robot's cameras are {status['cameras']}")
        say(f"the robot holds; bytes of its frames: {studio.moving_frames()}")
        train(studio)
        for command in (
            ("dexvla", "record", "--task", "transfer_cube", "--episodes", "1", "--out", "/tmp/demo"),
            ("dexvla", "eval", "demo", "--task", "pick_colour", "--level", "jitter", "--episodes", "1"),
        ):
            if (done := team["worker"].run(*command)).returncode:
                raise Refused(f"{' '.join(command)}: {done.stderr.strip()[-1500:]}")
            say(f"{' '.join(command[:2])} runs in the worker's image")
        for service in running:
            service.stop()
        say("all services stopped in order")


def train(studio: StudioClient) -> None:
    def finished(job: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = until(lambda: studio.job(job["id"]), job["title"], seconds=1200)
        return done

    demo = finished(
        studio.request("POST", "/api/datasets/demo", {"name": "Demo", "episodes": 1, "height": 48, "width": 64})
    )
    version = studio.request("POST", f"/api/datasets/{demo['subject_id']}/versions", {"include_unlabelled": True})
    finished(studio.request("POST", "/api/models/tiny", {}))
    (model,) = studio.request("GET", "/api/models")
    began = time.monotonic()
    run = studio.request(
        "POST",
        "/api/runs",
        {
            "name": "Tiny",
            "stage": 2,
            "preset": "tiny",
            "sources": [{"version_id": version["id"]}],
            "base_model_id": model["id"],
            "fields": {"steps": 2, "batch_size": 2, "chunk_size": 8, "image_height": 56, "image_width": 84},
        },
    )
    finished(run["job"])
    made = studio.request("GET", f"/api/runs/{run['id']}")["checkpoints"]
    if not made:
        raise Refused("the training is done and left no checkpoint")
    say(f"a training of two steps was done in {time.monotonic() - began:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--built", action="store_true", help="take the images as they are")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    if given.inside:
        try:
            inside()
        except Refused:
            return 1
        return 0
    try:
        prepare(built=given.built)
    except Refused as error:
        say(f"WRONG: {error}")
        return 1
    # whatever becomes of it, its processes end with it
    again = [sys.executable, str(Path(__file__)), INSIDE]
    return subprocess.run(["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *again]).returncode


if __name__ == "__main__":
    sys.exit(main())
