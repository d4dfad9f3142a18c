"""The processes of a host, started as an operator starts them: what they accept, and how they end."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from billhook_web.db import Database
from billhook_web.stores import inbox, schema

INSTALLED = Path(__file__).parent / "installed"
SECRET = "acme-secret"
BOOTSTRAP_KEY = "bootstrap-key-of-the-tests"
MIB = 1024 * 1024
START_SECONDS = 60
STOP_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], *, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def parents() -> dict[int, int]:
    """Return the parent of every process that lives; one that only waits to be buried is dead."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def alive(pids: set[int]) -> set[int]:
    return pids & parents().keys()


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


@dataclass
class Host:
    """A running ``billhook`` process. ``log`` has all it wrote."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        chunked: bool = False,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        parts = iter([body[at : at + 65536] for at in range(0, len(body), 65536)])
        try:
            extra = {"Transfer-Encoding": "chunked"} if chunked else {}
            connection.request(
                method,
                path,
                body=parts if chunked else body,
                headers={**(headers or {}), **extra},
                encode_chunked=chunked,
            )
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    def deliver(self, body: bytes, *, secret: str = SECRET, chunked: bool = False) -> int:
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Acme-Signature": signature}
        return self.request("POST", "/webhooks/acme", body=body, headers=headers, chunked=chunked).status

    def answers(self) -> bool:
        try:
            return self.request("GET", "/healthz").status == 200
        except OSError:
            return False

    def children(self) -> set[int]:
        return {pid for pid, parent in parents().items() if parent == self.process.pid}

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def wrote(self) -> str:
        return self.log.read_text()


@contextmanager
def running(folder: Path, *arguments: str, port: int = 0, wait: bool = True, **env: str) -> Iterator[Host]:
    folder.mkdir(exist_ok=True)
    log = folder / f"{arguments[0]}-{free_port()}.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BILLHOOK_")}
    environment = inherited | {
        "BILLHOOK_HOME": str(folder),
        "BILLHOOK_CONNECTIONS": "acme",
        "BILLHOOK_API_KEY": BOOTSTRAP_KEY,
        "ACME_API_KEY": "acme-key",
        "ACME_WEBHOOK_SECRET": SECRET,
        "PYTHONPATH": os.pathsep.join([str(INSTALLED), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-c", "from billhook_web.cli import main; main()", *arguments]
    if port:
        command += ["--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment | env, stdout=output, stderr=output, cwd=folder)
    host = Host(process=process, port=port, log=log)
    family: set[int] = set()
    try:
        if port and wait:
            wait_for(lambda: host.answers() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
        yield host
    finally:
        if process.poll() is None:
            family = host.children()
            process.kill()
            process.wait(STOP_SECONDS)
        for child in alive(family):
            os.kill(child, signal.SIGKILL)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for the tests that only ask it something."""
    with running(tmp_path_factory.mktemp("host"), "serve", port=free_port()) as host:
        yield host


def stored(url: str) -> dict[str, int]:
    db = Database(url)
    try:
        with db.read() as tx:
            return inbox.counts(tx)
    finally:
        db.close()


def end_leases(url: str) -> None:
    """What a killed process held comes free when its lease ends; nobody wants to wait for that here."""
    db = Database(url)
    with db.begin() as tx:
        tx.execute(text("UPDATE inbox SET leased_until = NULL"))
    db.close()


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'billhook.sqlite3'}"


# --- what it accepts ---------------------------------------------------------------------------------------------


def test_it_says_what_it_did_and_where_webhooks_go(host: Host) -> None:
    written = host.wrote()
    assert f"Database: upgraded from nothing to revision {schema.newest()}." in written
    assert f"Billhook listens on http://127.0.0.1:{host.port}" in written
    assert f"acme (acme)  http://127.0.0.1:{host.port}/webhooks/acme  ready" in written


def test_it_is_ready(host: Host) -> None:
    answer = host.request("GET", "/readyz")
    assert answer.status == 200, answer.body


def test_a_signed_webhook_is_taken_and_processed_by_the_same_host(host: Host) -> None:
    assert host.deliver(b'{"number": 1}') == 200
    wait_for(lambda: stored(sqlite(host.log.parent)).get("processed", 0) >= 1)


def test_a_body_of_exactly_the_limit_is_taken(host: Host) -> None:
    assert host.deliver(b'"' + b"a" * (MIB - 2) + b'"') == 200
    assert host.deliver(b'"' + b"b" * (MIB - 2) + b'"', secret="another") == 401


@pytest.mark.parametrize("size", [MIB + 1, 20 * MIB])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_longer_body_is_refused_with_an_answer(host: Host, size: int, chunked: bool) -> None:
    assert host.deliver(b"x" * size, chunked=chunked) == 413


def test_a_chunked_body_is_taken(host: Host) -> None:
    body = b'"' + b"c" * (MIB - 2) + b'"'
    assert host.deliver(body, chunked=True) == 200
    assert host.deliver(b'"' + b"d" * 70_000 + b'"', chunked=True, secret="another") == 401


def test_a_body_for_nobody_gets_an_answer(host: Host) -> None:
    assert host.request("POST", "/webhooks/nobody", body=b"x" * 3 * MIB).status == 404


@pytest.mark.parametrize("size", [48 * 1024, 300 * 1024, MIB])
def test_a_signature_may_hold_the_whole_body(host: Host, size: int) -> None:
    body = b'"' + b"e" * (size - 2) + b'"'
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    token = f"{base64.urlsafe_b64encode(body).decode()}.{signature}"
    assert len(token) >= 64 * 1024
    answer = host.request("POST", "/webhooks/acme", body=body, headers={"X-Acme-Token": token})
    assert answer.status == 200, answer.body


def test_the_key_of_the_environment_opens_the_api(host: Host) -> None:
    path = "/api/v1/customers"
    assert host.request("GET", path, headers={"Authorization": f"Bearer {BOOTSTRAP_KEY}"}).status == 200
    assert host.request("GET", path, headers={"Authorization": "Bearer another"}).status == 401


def test_logs_are_json_lines_without_secrets(host: Host) -> None:
    host.deliver(b"{}", secret="another")
    wait_for(lambda: "webhook.refused" in host.wrote())
    [line, *_] = [line for line in host.wrote().splitlines() if "webhook.refused" in line]
    event = json.loads(line)
    assert (event["event"], event["connection"], bool(event["request_id"])) == (
        "webhook.refused",
        "acme",
        True,
    )
    assert SECRET not in host.wrote()
    assert BOOTSTRAP_KEY not in host.wrote()


# --- how it ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_when_told_to(tmp_path: Path, how: signal.Signals) -> None:
    with running(tmp_path, "serve", port=free_port()) as host:
        children = host.children()
        host.process.send_signal(how)
        assert host.process.wait(STOP_SECONDS) == 0
        assert children
        assert alive(children) == set()
        assert "Traceback" not in host.wrote()
        assert host.wrote().endswith("Stopped.\n")


def test_a_request_that_was_begun_is_answered_before_the_end(tmp_path: Path) -> None:
    head = b"POST /webhooks/nobody HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"
    with running(tmp_path, "serve", port=free_port()) as host:
        with (
            socket.create_connection(
                ("127.0.0.1", host.port), timeout=60
            ),  # opened and idle: nobody waits for it
            socket.create_connection(("127.0.0.1", host.port), timeout=60) as begun,
        ):
            begun.sendall(head + b"12345")
            time.sleep(0.5)  # it is being read now
            host.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            begun.sendall(b"67890")
            assert begun.recv(12) == b"HTTP/1.1 404"
            assert host.process.wait(STOP_SECONDS) == 0


def test_senders_who_stall_do_not_keep_it_from_ending_well(tmp_path: Path) -> None:
    head = b"POST /webhooks/acme HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n12345"
    with running(tmp_path, "serve", port=free_port()) as host, ExitStack() as lines:
        for _ in range(5):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", host.port), timeout=60))
            line.sendall(head)
        assert host.deliver(b"{}") == 200
        wait_for(lambda: stored(sqlite(tmp_path)) == {"processed": 1})
        children = host.children()
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(STOP_SECONDS) == 0
        assert alive(children) == set()
        assert "serve.dropped" in host.wrote()  # said by itself before it ended: nobody killed it
        assert host.wrote().endswith("Stopped.\n")


def test_it_leaves_nothing_behind_when_it_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "serve", port=free_port()) as host:
        children = host.children()
        host.process.kill()
        host.process.wait(STOP_SECONDS)
        assert children
        wait_for(lambda: not alive(children), seconds=STOP_SECONDS)
        assert not host.answers()


def test_what_was_taken_before_a_kill_is_processed_after_it(tmp_path: Path) -> None:
    with running(tmp_path, "serve", port=free_port()) as host:
        statuses = [host.deliver(b'{"number": %d}' % number) for number in range(20)]
        for process in {host.process.pid, *host.children()}:
            os.kill(process, signal.SIGKILL)
    assert statuses == [200] * 20
    end_leases(sqlite(tmp_path))
    with running(tmp_path, "serve", port=free_port()):
        wait_for(lambda: stored(sqlite(tmp_path)) == {"processed": 20})


def test_a_serving_process_that_died_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, "serve", port=free_port()) as host:
        before = host.children()
        for process in before:
            os.kill(process, signal.SIGKILL)
        wait_for(lambda: not alive(before) and host.answers())
        assert host.deliver(b"{}") == 200


def test_a_running_host_takes_up_a_mounted_secret_that_changed(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    mounted = {"ACME_WEBHOOK_SECRET": "", "ACME_WEBHOOK_SECRET_FILE": str(file)}
    with running(tmp_path, "serve", port=free_port(), **mounted) as host:
        assert host.deliver(b"before") == 200
        file.write_text("the-next-acme-secret")
        wait_for(lambda: host.deliver(b"after", secret="the-next-acme-secret") == 200)
        assert host.deliver(b"late") == 401
        wait_for(lambda: "connection.renewed" in host.wrote())


def test_the_host_may_be_a_name_and_links_follow_the_public_url(tmp_path: Path) -> None:
    public = {"BILLHOOK_PUBLIC_URL": "https://pay.example.com"}
    with running(tmp_path, "serve", "--host", "localhost", port=free_port(), **public) as host:
        assert "https://pay.example.com/webhooks/acme" in host.wrote()


def test_a_port_that_is_taken_is_a_plain_message(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with running(tmp_path, "serve", port=port, wait=False) as host:
            assert host.process.wait(START_SECONDS) == 1
            assert f"Cannot listen on 127.0.0.1 port {port}" in host.wrote()
            assert "Traceback" not in host.wrote()


# --- several processes -------------------------------------------------------------------------------------------


def test_web_and_worker_share_the_work_over_redis(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    env = {"BILLHOOK_DATABASE_URL": postgres_url, "BILLHOOK_REDIS_URL": redis_url}
    with running(tmp_path, "web", port=free_port(), wait=False, **env) as refused:
        assert refused.process.wait(START_SECONDS) == 1
        assert "billhook db upgrade" in refused.wrote()
    db = Database(postgres_url)
    schema.upgrade(db)
    db.close()
    with running(tmp_path, "web", port=free_port(), **env) as web:
        assert web.deliver(b"{}") == 200
        assert stored(postgres_url) == {"received": 1}
        with running(tmp_path, "worker", "--threads", "2", **env) as worker:
            wait_for(lambda: stored(postgres_url) == {"processed": 1})
            assert "Billhook works with 2 threads" in worker.wrote()
            assert worker.stop() == 0
        assert web.stop() == 0
        assert "Traceback" not in web.wrote()


def test_a_sandbox_is_served_and_says_what_to_set(tmp_path: Path) -> None:
    port = free_port()
    with running(
        tmp_path, "sandbox", "acme", "--set", "a=b", "--name", "acme-eu", port=port, wait=False
    ) as sandbox:
        wait_for(lambda: "ACME_EU_API_URL" in sandbox.wrote() and sandbox.answers())
        written = sandbox.wrote()
        assert "export BILLHOOK_CONNECTIONS=acme-eu=acme" in written
        assert f"export ACME_EU_API_URL=http://127.0.0.1:{port}" in written
        assert "export ACME_EU_WEBHOOK_SECRET='two words'" in written
        wait_for(lambda: json.loads(sandbox.request("GET", "/").body)["ticks"] > 0)
        assert json.loads(sandbox.request("GET", "/").body)["settings"] == {"a": "b"}
        assert sandbox.stop() == 0
