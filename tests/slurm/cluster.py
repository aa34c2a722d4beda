"""A real SLURM on this machine: controller and one node on loopback, with two fake GPUs, while a test needs it.

Debian's slurm-wlm and munge; everything lies below one folder, on ports of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
_CONFIG = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,default_queue_depth=1000
MinJobAge=86400
KillWait=2
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@dataclass
class Cluster:
    """A running SLURM.

    Attributes:
        folder: where its configuration, state and logs lie.
        environment: what a process needs to speak to it.
    """

    folder: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of a SLURM command."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self, *states: str) -> list[dict[str, str]]:
        """Jobs that the controller knows; the id of an array's task is `12_3`, its number one of its own."""
        wanted = ["--states", ",".join(states) if states else "all"]
        lines = self.run("squeue", "--array", "--noheader", *wanted, "--format", "%A|%i|%j|%T|%P|%k").splitlines()
        names = ("number", "id", "name", "state", "partition", "comment")
        return [dict(zip(names, line.split("|"), strict=True)) for line in lines]

    def task(self, number: str) -> str:
        """What `scancel` calls a job: the number alone of an array's last task means all of the array."""
        return next(job["id"] for job in self.jobs() if job["number"] == number)

    def wait_for(self, what: str, condition: Callable[[], object], seconds: float = 60) -> object:
        """Wait until a condition holds; gives what it gave.

        Raises:
            AssertionError: it does not hold in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.2)
        log = (self.folder / "slurmctld.log").read_text()[-3000:]
        raise AssertionError(f"{what}: not within {seconds:.0f} s\n{self.run('squeue', check=False)}\n{log}")

    def stop(self) -> None:
        """End all jobs and all daemons."""
        self.run("scancel", "--state=PENDING", "--user=root", check=False)
        self.run("scancel", "--user=root", check=False)
        for name in ("slurmd", "slurmctld", "munged"):
            if name in self.processes:
                self.processes[name].terminate()
                try:
                    self.processes[name].wait(timeout=15)
                except subprocess.TimeoutExpired:
                    self.processes[name].kill()


def start_cluster(folder: Path, *, cores: int, memory_mb: int) -> Cluster:
    """Start munge, the controller and a node, and wait until the node is idle.

    Args:
        folder: an empty folder; its path must be short, for it holds a socket.
        cores: CPUs that the node says it has; more than there are is allowed.
        memory_mb: its memory.
    """
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    controller_port, node_port = _free_ports(2)
    text = _CONFIG.format(
        host=host, folder=folder, cores=cores, memory=memory_mb, controller_port=controller_port, node_port=node_port
    )
    (folder / "slurm.conf").write_text(text)
    # The files are real, for the node looks at them; nothing is ever read from these two.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    cluster = Cluster(folder, {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": _with_srun(folder)})
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    folder.chmod(0o755)
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    _start(cluster, "munged", munge)
    _await(lambda: (folder / "munge.socket").exists(), "munge", folder)
    _start(cluster, "slurmctld", ["slurmctld", "-D", "-f", str(folder / "slurm.conf")])
    _start(cluster, "slurmd", ["slurmd", "-D", "-f", str(folder / "slurm.conf"), "-N", host])
    _await(lambda: "idle" in cluster.run("sinfo", "--noheader", "--format", "%T", check=False), "the node", folder)
    return cluster


def missing_programs() -> list[str]:
    """Programs of SLURM and munge that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def _with_srun(folder: Path) -> str:
    """A search path whose `srun` knows this SLURM: the executor takes SLURM_CONF from the steps it starts."""
    (folder / "bin").mkdir()
    wrapper = folder / "bin/srun"
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    wrapper.chmod(0o755)
    return f"{folder}/bin:{os.environ['PATH']}"


def _start(cluster: Cluster, name: str, command: list[str]) -> None:
    log = open(cluster.folder / f"{name}.out", "w")  # noqa: SIM115
    cluster.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=cluster.environment)
    log.close()


def _await(condition: Callable[[], bool], what: str, folder: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    told = "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in sorted(folder.glob("*.out")))
    raise AssertionError(f"{what} of the test's SLURM does not come up in {seconds:.0f} s\n{told}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
