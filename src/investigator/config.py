"""Settings, frozen, read from TOML: one file for the console, one for the agent, one for the broker.

All live in a deployment's home folder; relative paths in them are taken from the file's own folder. Units are in the names.
Nothing here is created: `deployment` does that.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from investigator.broker.tls import ClientTls
from investigator.errors import BadInput, DeploymentError
from investigator.logs import LogSettings

CONSOLE_FILE: Final = "console.toml"
AGENT_FILE: Final = "agent.toml"
BROKER_FILE: Final = "broker.toml"
GATEWAY_FILE: Final = "gateway.toml"
MAX_CONFIG_BYTES: Final = 1 << 20


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach the broker."""

    url: str
    """`tls://host:port`; several servers of a cluster with commas. `nats://` is for loopback addresses only."""
    credentials: Path
    ca: Path | None = None
    """The authority that the broker's certificate must be of, in PEM; no other counts."""
    certificate: Path | None = None
    """With `key`, what to show to a broker that asks for a certificate."""
    key: Path | None = None

    @property
    def tls(self) -> ClientTls | None:
        """What `broker.connection.connect` takes."""
        return ClientTls(self.ca, self.certificate, self.key) if self.ca is not None else None


class Signing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the investigator's key is: a file, or gpg's keyring by full fingerprint."""

    key: Path | None = None
    gpg: str | None = None
    gpg_home: Path | None = None


class Metrics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[metrics] of agent.toml, broker.toml and gateway.toml: who may scrape, if anybody."""

    listen: str = ""
    """`127.0.0.1:9464`: GET /metrics is answered there, in Prometheus' text format. Empty: nothing listens."""
    beyond_loopback: bool = False
    """Whether `listen` may be an address that other hosts reach; what is told there is told to whoever asks."""


class ConsoleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """console.toml."""

    broker: Link
    signer: Signing
    sealing_key: Path | None = None
    """Results are sealed to this key; without it they travel readable."""
    store: Path
    people: Path = Path("people.json")
    """Whose sealing key is whose, for telling who can open an action's results."""
    passphrase_command: tuple[str, ...] = ()
    """A program and its arguments that prints the passphrase of the investigator's keys."""
    enrolment: Literal["token", "open", "approve"] = "token"
    """Whom this console asks and believes: agents with a proof, all, or those that an investigator approved one by one."""
    targets: dict[str, str] = {}
    """Macros: `-t NAME` stands for its condition."""
    log: LogSettings = LogSettings()


Positive = Annotated[float, msgspec.Meta(gt=0)]


class AgentEnrolment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[enrolment] of agent.toml: what lets a new agent in; either of the two."""

    token: str = ""
    """As `investigator enrol token` made it; taken out of the file once the agent is enrolled."""
    token_file: Path | None = None
    """A file that holds it; removed likewise."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """agent.toml."""

    broker: Link
    keyring: Path
    """A folder of armored public keys, one certificate a file."""
    acl: Path
    name: str = ""
    """Empty: this host's name."""
    tags: dict[str, str] = {}
    heartbeat_s: Positive = 60.0
    catch_up_s: Positive = 60.0
    module_timeout_s: Positive = 300.0
    module_memory_bytes: Annotated[int, msgspec.Meta(ge=64 << 20)] = 1 << 30
    module_result_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 24 << 20
    module_cpu_percent: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    """Of one processor, of each operation; what is beyond waits."""
    module_open_files: Annotated[int, msgspec.Meta(ge=16)] = 1024
    module_processes: Annotated[int, msgspec.Meta(ge=1)] = 64
    module_cgroup: str = "auto"
    """`auto`: operations get cgroups where this agent has a part of the tree to itself; `off`; or a folder for them."""
    module_niceness: Annotated[int, msgspec.Meta(ge=0, le=19)] = 19
    """19 never delays what the host is there for, and makes an operation slow on a host that is busy all the time."""
    module_warm_s: Annotated[float, msgspec.Meta(ge=0, le=86_400 * 365)] = 300.0
    """How long the process that workers are forked from stays when there is nothing to run."""
    extraprivacymode: bool = False
    """Results leave this host with names of files, people, peers and hosts masked, and no error's text; as MIG calls it."""
    facts_refresh_s: Positive = 300.0
    enrolment: AgentEnrolment = AgentEnrolment()
    modules: dict[str, dict[str, Any]] = {}
    """The persistent modules that run here, each with its settings; the modules themselves say what fits."""
    nopersistmods: bool = False
    """None of them runs, whatever `modules` says; as MIG calls it."""
    alerts_per_minute: Annotated[int, msgspec.Meta(ge=1, le=6000)] = 60
    """How many letters of alerts each of them may send, on average; one holds up to hundreds of alerts."""
    log: LogSettings = LogSettings()
    metrics: Metrics = Metrics()


class EnrolmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[enrolment] of broker.toml: how agents get credentials of their own."""

    policy: Literal["token", "open", "approve"] = "token"
    """Who is let in: agents with a token, all, or those that an investigator approved one by one."""
    serve: bool = True
    """Whether `investigator broker` does it; else `investigator enrol serve`."""
    credentials_last_s: Annotated[int, msgspec.Meta(ge=5, le=90 * 86_400)] = 30 * 86_400
    """Renewed when a third of it is left."""
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 3000
    """Of agents that are not known yet; more are told to come again."""
    pending_at_most: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    """How many wait for an approval, and how many that were denied are remembered."""
    flood_bytes_per_minute: Annotated[int, msgspec.Meta(ge=1 << 20)] = 256 << 20
    """An agent that sends more is named."""


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """gateway.toml."""

    broker: Link
    keyring: Path
    """By these two the gateway judges what it publishes, before any agent does."""
    acl: Path
    enrolment: Literal["token", "open", "approve"] = "token"
    """Which agents are asked and believed; as in console.toml."""
    requests_at_a_time: Annotated[int, msgspec.Meta(ge=1, le=200)] = 32
    request_life_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 3600.0
    """How long one request is answered at most."""
    log: LogSettings = LogSettings()
    metrics: Metrics = Metrics()


class BrokerTls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [tls] of broker.toml."""

    names: tuple[str, ...] = ()
    """By which agents and consoles call the broker, beside localhost: for the certificate that it makes itself."""
    certificate: Path | None = None
    """One's own, with `key` and `ca`, instead of the one that the deployment's CA makes and the broker renews."""
    key: Path | None = None
    ca: Path | None = None
    verify: bool = False
    """Whether only those are let in who show a certificate of the CA."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [cluster] of broker.toml: NATS servers of one's own, which `investigator broker config` configures."""

    url: str
    """All of its servers, with commas."""
    leaves: str = ""
    """The leaf nodes likewise: who shuts a user out must tell them too."""
    replicas: Annotated[int, msgspec.Meta(ge=1, le=5)] = 3
    """How many servers keep each stream."""


class BrokerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """broker.toml."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 4222
    store: Path = Path("broker")
    credentials: Path
    """The services', to make the streams with."""
    sync_always: bool = True
    """Whether a result is on the disk before it is acknowledged; `false` is faster and loses seconds at a power cut."""
    records_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 400
    """How long it is kept who asked what, and how it ended."""
    enrolment: EnrolmentSettings = EnrolmentSettings()
    tls: BrokerTls | None = None
    """Without it the broker speaks plain text, which agents and consoles take on loopback only."""
    cluster: Cluster | None = None
    """In place of the embedded broker."""
    log: LogSettings = LogSettings()
    metrics: Metrics = Metrics()


T = TypeVar("T")


def load_console(home: Path, file: str = CONSOLE_FILE) -> ConsoleConfig:
    """Read console.toml; raises `DeploymentError` (there is none) or `BadInput` (what and where)."""
    config = _load(home / file, ConsoleConfig)
    if config.passphrase_command and os.name == "posix" and (home / file).stat().st_mode & 0o022:
        raise DeploymentError(
            f"{home / file}: others than its owner can write it, and it names a command to run",
            hint=f"chmod go-w {home / file}",
        )
    return msgspec.structs.replace(config, people=home / config.people)  # its default has not met the folder yet


def load_agent(home: Path) -> AgentConfig:
    """Read agent.toml; raises `DeploymentError` (there is none) or `BadInput` (what and where)."""
    return _load(home / AGENT_FILE, AgentConfig)


def load_broker(home: Path) -> BrokerConfig:
    """Read broker.toml; raises `DeploymentError` (there is none) or `BadInput` (what and where)."""
    return _load(home / BROKER_FILE, BrokerConfig)


def load_gateway(home: Path) -> GatewayConfig:
    """Read gateway.toml; raises `DeploymentError` (there is none) or `BadInput` (what and where)."""
    return _load(home / GATEWAY_FILE, GatewayConfig)


def default_home() -> Path:
    """`$INVESTIGATOR_HOME`, else the folder `investigator` where XDG keeps data."""
    chosen = os.environ.get("INVESTIGATOR_HOME")
    if chosen:
        return Path(chosen).absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "investigator"


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """A file of the deployment.

    Raises:
        DeploymentError: it is not there, not readable, or larger than it can be.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}", hint=_HINT) from None
    if len(content) > max_bytes:
        raise DeploymentError(f"{path}: more than {max_bytes:,} bytes")
    return content


_HINT: Final = "`investigator init` makes a deployment; --home or INVESTIGATOR_HOME says where one is."


def _load(path: Path, shape: type[T]) -> T:
    text = read_file(path, max_bytes=MAX_CONFIG_BYTES)
    try:
        document = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path}: {error}") from None
    try:
        return msgspec.convert(document, shape, dec_hook=lambda kind, value: _path(kind, value, path.parent))
    except msgspec.ValidationError as error:
        raise BadInput(f"{path}: {str(error).replace('`', chr(39))}") from None


def _path(kind: type, value: Any, folder: Path) -> Any:
    if kind is Path and isinstance(value, str):
        return folder / Path(value).expanduser()
    raise ValueError(f"Expected a path, got {type(value).__name__}")
