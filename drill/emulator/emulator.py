"""One run of the embedded AWS: its process, its temporary files, and clients that talk to it."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from drill.emulator import tls

ROOT_DIRECTORY = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
REGION = "us-east-1"
START_SECONDS = 30.0
STOP_SECONDS = 5.0
START_ATTEMPTS = 3


class EmulatorError(Exception):
    """The emulator did not start."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of one caller; kept out of every representation."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def environment(self) -> dict[str, str]:
        """Return the variables which the SDKs and the CDK CLI read."""
        token = {"AWS_SESSION_TOKEN": self.session_token} if self.session_token else {}
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key, **token}


class Emulator:
    """Context manager for one emulator with enforced IAM, on a free loopback port."""

    def __init__(
        self,
        python: Path,
        *,
        log_file: Path,
        use_tls: bool = True,
        account: str = "111122223333",
        region: str = REGION,
    ) -> None:
        """Take the Python of the emulator's environment and the file its output goes to."""
        self.account = account
        self.region = region
        self.log_file = log_file
        self.root = Credentials(f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))
        self._python = python
        self._use_tls = use_tls
        self._directory = Path()
        self._certificates: tls.Certificates | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, Credentials, str], Any] = {}

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        self._directory = Path(tempfile.mkdtemp(prefix="drill-"))
        self._certificates = tls.create(self._directory) if self._use_tls else None
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the process and everything it started, and remove its files."""
        self._stop()

    @property
    def endpoint_url(self) -> str:
        """Where every AWS service answers."""
        return f"{'https' if self._use_tls else 'http'}://{HOST}:{self._port}"

    @property
    def authority(self) -> Path | None:
        """The certificate to trust, when TLS is on."""
        return self._certificates.authority if self._certificates else None

    def environment(self, credentials: Credentials) -> dict[str, str]:
        """Return what a child process needs to talk to this emulator as that caller."""
        trust = {"AWS_CA_BUNDLE": str(self.authority), "NODE_EXTRA_CA_CERTS": str(self.authority)}
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            **credentials.environment(),
            **(trust if self.authority else {}),
        }

    def session(self, credentials: Credentials) -> boto3.Session:
        """Make a boto3 session of that caller; its clients need ``endpoint_url``, so prefer ``client``."""
        return boto3.Session(
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            region_name=self.region,
        )

    def root_session(self) -> boto3.Session:
        """Make a session of the account's root, whom no policy stops."""
        return self.session(self.root)

    def client(self, service: str, credentials: Credentials | None = None, *, region: str | None = None) -> Any:  # noqa: ANN401 - boto3 makes clients at run time
        """Return a client of that caller, by default of root; made once, safe to share between threads."""
        caller = credentials or self.root
        key = (service, caller, region or self.region)
        with self._lock:
            if key not in self._clients:
                session: Any = self.session(caller)
                self._clients[key] = session.client(
                    service,
                    endpoint_url=self.endpoint_url,
                    region_name=region or self.region,
                    verify=str(self.authority) if self.authority else None,
                    config=Config(retries={"total_max_attempts": 2}, read_timeout=120, max_pool_connections=50),
                )
            return self._clients[key]

    def assume_role(self, role_arn: str, session_name: str, caller: Credentials | None = None) -> Credentials:
        """Open a session of that role; its trust policy must name the caller."""
        answer = self.client("sts", caller).assume_role(RoleArn=role_arn, RoleSessionName=session_name)["Credentials"]
        return Credentials(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])

    def create_user(self, name: str, policy: str) -> Credentials:
        """Create an IAM user with that inline policy document and an access key."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def log_events(self, log_group: str) -> list[str]:
        """Everything in a log group, oldest first; empty when the group does not exist."""
        logs = self.client("logs")
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=log_group)
            events = [event for page in pages for event in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"].rstrip("\n") for event in sorted(events, key=lambda event: event["timestamp"])]

    def _start(self) -> None:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file.write_bytes(b"")
        for _ in range(START_ATTEMPTS):
            self._port = _free_port()
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - the interpreter is the caller's choice
                    [self._python, "-E", "-s", "-m", "drill.emulator.launcher"],
                    cwd=ROOT_DIRECTORY,
                    env=self._server_environment(),
                    stdin=subprocess.PIPE,  # it ends when this closes
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            if self._answers(self._process):
                return
        tail = "\n".join(self.log_file.read_text(errors="replace").splitlines()[-15:])
        message = f"The emulator did not start; the end of {self.log_file}:\n{tail}"
        raise EmulatorError(message)

    def _server_environment(self) -> dict[str, str]:
        """All it gets, for its Lambda functions inherit it: nothing of the caller's own environment."""
        directory = str(self._directory)
        certificates = self._certificates
        with_tls = {
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(certificates.server),
            "MINISTACK_SSL_KEY": str(certificates.server_key),
            "AWS_CA_BUNDLE": str(certificates.authority),
            "SSL_CERT_FILE": str(certificates.authority),
        } if certificates else {}  # fmt: skip
        return {
            "PATH": os.defpath,
            "HOME": directory,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "GATEWAY_PORT": str(self._port),
            "AUTH": "true",
            "MINISTACK_ACCOUNT_ID": self.account,
            "MINISTACK_REGION": self.region,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "CLOUDTRAIL_RECORDING": "1",
            "LAMBDA_EXECUTOR": "local",
            "DOCKER_HOST": f"unix://{directory}/none.sock",
            "STATE_DIR": directory,
            "S3_DATA_DIR": f"{directory}/s3",
            "TMPDIR": directory,
            **self.root.environment(),
            **with_tls,
        }

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it became healthy before it exited or ran out of time."""
        context = ssl.create_default_context(cafile=self.authority) if self.authority else None
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                url = f"{self.endpoint_url}/_ministack/health"
                with urllib.request.urlopen(url, timeout=2, context=context):  # noqa: S310 - loopback
                    return process.poll() is None
            time.sleep(0.05)
        self._end(process)
        return False

    def _stop(self) -> None:
        if self._process is not None:
            self._end(self._process)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End the server, then the Lambda functions left in its process group."""
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
