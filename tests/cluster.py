"""A real SLURM of one node, started for a test; all that it writes lies in one folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "setpriv")
SECONDS_TO_START = 60
SECONDS_TO_END = 60


def missing() -> str:
    """Why no cluster can be started here; empty where one can."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root, and this is another user"
    if absent := [program for program in PROGRAMS if not shutil.which(program)]:
        return f"no {', '.join(absent)}; on Debian: apt-get install slurm-wlm munge"
    return ""


class Cluster:
    """The daemons of munge and SLURM as child processes, from ``with`` to its end.

    The node claims more processors and memory than the machine has, and two GPUs, so that jobs may ask for what they
    would ask for elsewhere; nothing confines them to it. Jobs in the partition ``urgent`` preempt those in the other,
    which are requeued only if they were submitted so.
    """

    def __enter__(self) -> Self:
        try:
            return self._entered()
        except RuntimeError:
            # Another program may have taken a port between its choice and the daemon's start.
            return self._entered()

    def _entered(self) -> Self:
        # Not pytest's folder: the path of a socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.folder.chmod(0o755)  # as munged demands of its socket's folder
        path = f"{self.folder}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []
        try:
            self._start()
        except BaseException:
            self._end_daemons()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End jobs, then daemons in the opposite order, and remove what they wrote."""
        try:
            self._wait_for(self._ended_jobs, "the end of all jobs")
        finally:
            self._end_daemons()

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints."""
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def jobs(self, folder: Path) -> list[dict[str, str]]:
        """Every job submitted from a folder, finished or not, as ``scontrol show job`` describes it."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = (dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines)
        return [job for job in jobs if job.get("WorkDir") == str(folder)]

    def _ended_jobs(self) -> bool:
        self.ask("scancel", "--user=root")
        return not self.ask("squeue", "--noheader").strip()

    def _end_daemons(self) -> None:
        for daemon in reversed(self._daemons):
            _end(daemon)
        shutil.rmtree(self.folder)

    def _start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        (self.folder / "slurm.conf").write_text(self._configuration())
        # A GPU must have a device file, which none of these jobs opens.
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        # Inside a job, Snakemake's plugin calls srun without SLURM_CONF.
        srun = self.folder / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        options = ("key-file=munge.key", "socket=munge", "pid-file=munged.pid", "seed-file=seed", "log-file=munged.log")
        files = (option.replace("=", f"={self.folder}/") for option in options)
        self._run("munged", "--foreground", *(f"--{file}" for file in files))
        self._wait_for((self.folder / "munge").exists, "munged")
        self._run("slurmctld", "-D")
        self._run("slurmd", "-D")
        self._wait_for(lambda: self.ask("sinfo", "--noheader", "--format=%T").split()[:1] == ["idle"], "an idle node")

    def _run(self, *command: str) -> None:
        command = ("setpriv", "--pdeathsig=TERM", *command)  # should the tests be killed
        with (self.folder / f"{command[2]}.out").open("wb") as output:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=output, stderr=output, start_new_session=True)
            )

    def _wait_for(self, condition: Callable[[], object], what: str) -> None:
        limit = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                if condition():
                    return
            except subprocess.CalledProcessError:
                pass
            if time.monotonic() > limit or any(daemon.poll() is not None for daemon in self._daemons):
                logs = "\n".join(path.read_text() for path in sorted(self.folder.glob("*.out")))
                raise RuntimeError(f"waited in vain for {what}\n{logs}")
            time.sleep(0.1)

    def _configuration(self) -> str:
        host = socket.gethostname().split(".")[0]
        controller, node = free_ports(2)
        return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthInfo=socket={self.folder}/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=5
MailProg=/bin/true
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
MinJobAge=3600
MessageTimeout=60
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=1000000 Gres=gpu:2
PartitionName=ordinary Nodes={host} Default=YES PriorityTier=1
PartitionName=urgent Nodes={host} PriorityTier=2 PreemptMode=OFF
"""


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
