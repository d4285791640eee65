"""A real Slurm of two nodes on this machine, without installation and without services of the system: Debian's packages, unpacked somewhere.

`scripts/get_slurm.sh` fetches them. Each node is one slurmd with a port of its own; both see the same files, as nodes of a lab do.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.ports import free_port

UNPACKED = Path(os.environ.get("FIGMENT_SLURM") or Path.home() / ".cache" / "figment-tests" / "slurm")
_START_S = 30.0
_CONFIGURATION = """\
ClusterName=figment
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
SlurmdTimeout=6
SlurmctldTimeout=6
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1_port} CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2_port} CPUs=1 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP
PartitionName=night Nodes=n1,n2 MaxTime=60 State=UP
"""


def why_not() -> str:
    """Why there can be no cluster here; empty when there can."""
    if not (UNPACKED / "usr/sbin/slurmctld-wlm").is_file():
        return "Slurm's packages are not here; `bash scripts/get_slurm.sh` fetches them from Debian"
    return ""


@dataclass(frozen=True)
class Cluster:
    """A running cluster. env: what a process needs to ask it."""

    folder: Path
    env: dict[str, str]

    def start_controller(self) -> None:
        self._daemon("slurmctld-wlm")

    def start_node(self, name: str) -> None:
        self._daemon("slurmd-wlm", "-N", name, "-d", str(UNPACKED / "usr/sbin/slurmstepd-wlm"))

    def kill(self, what: str, number: int = signal.SIGKILL) -> None:
        """End `controller`, `n1` or `n2` and wait until it is gone."""
        pid = int((self.folder / f"{what}.pid").read_text())
        os.kill(pid, number)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.02)

    def ask(self, *command: str) -> str:
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=True, timeout=30).stdout

    def wait_for_nodes(self, state: str = "idle", *, timeout_s: float = _START_S) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if self.ask("sinfo", "--noheader", "--partition=main", "--Node", "--format=%t").split() == [state, state]:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the nodes are not {state} after {timeout_s:.0f} s; see {self.folder}/*.log")
            time.sleep(0.1)

    def _daemon(self, program: str, *arguments: str) -> None:
        subprocess.run([str(UNPACKED / "usr/sbin" / program), *arguments], env=self.env, check=True, timeout=30, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster whose state lies in `folder` (whose path must be short: sockets lie there); everything of it has ended afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    (folder / "state").mkdir()
    libraries = next((UNPACKED / "usr/lib").glob("*-linux-gnu"))
    path = os.pathsep.join([str(UNPACKED / "usr/bin"), str(UNPACKED / "usr/sbin"), os.environ["PATH"]])
    env = {
        **os.environ,
        "PATH": path,
        "LD_LIBRARY_PATH": f"{libraries}:{libraries}/slurm-wlm",
        "SLURM_CONF": str(folder / "slurm.conf"),
    }
    ports = {f"{name}_port": free_port() for name in ("controller", "n1", "n2")}
    text = _CONFIGURATION.format(host=socket.gethostname(), user=getpass.getuser(), folder=folder, plugins=libraries / "slurm-wlm", **ports)
    (folder / "slurm.conf").write_text(text)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge.{name}" for option, name in names.items()]
    subprocess.run([shutil.which("munged", path=path) or "munged", "--force", *munge], env=env, check=True, timeout=30)
    cluster = Cluster(folder, env)
    try:
        cluster.start_controller()
        for node in ("n1", "n2"):
            cluster.start_node(node)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            cluster.ask("scancel", "--user", getpass.getuser())
            time.sleep(0.5)
        for pid_file in (*folder.glob("n?.pid"), folder / "controller.pid", folder / "munge.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
        time.sleep(0.5)
        _end_what_is_left(folder)


def _end_what_is_left(folder: Path) -> None:
    """Whatever still names this cluster's configuration in its environment, such as the keeper of a job's step."""
    mark = f"SLURM_CONF={folder}/slurm.conf".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
