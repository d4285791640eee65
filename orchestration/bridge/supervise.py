"""Run shell commands so that no process of theirs outlives them, or the one who asked for them.

    python -I -S supervise.py KEEP_FDS GRACE_S COMMAND [COMMAND ...]

A program of its own, on the standard library alone (12 ms to start), because only a parent can find and end every descendant, and because it
must go on when the asking process is killed with SIGKILL. The first of KEEP_FDS (comma-separated numbers) is one end of a socket pair whose
other end the asking process holds: the first command waits for a word through it; end of file there, or SIGTERM/SIGINT/SIGHUP here, ends the
whole tree, first with SIGTERM, after GRACE_S seconds with SIGKILL. One line `status signal leftovers peak_rss_bytes cpu_seconds` is written to
it at the end. The other KEEP_FDS are only held open until the tree is gone: locks (flock) that must not be free while a process of the tree lives.

Commands run one after the other until one fails, each by the user's shell without its start-up files, as DVC does. Exit status is theirs,
128 + n if signal n ended them, 143 if they were ended from outside.

On Linux this process becomes the reaper of orphans, so that descendants which left their session (`setsid`, daemons) are found too; on other
systems the tree is found by `ps` and by process group, which misses a daemon whose parent has ended already.
"""

import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` and `collections.abc` cost start-up time
    from collections.abc import Callable

# A pipeline's last writer (`> >(tee log)`) may end a moment after the shell; it is no leftover.
LINGER_S = 0.3
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_IS_LINUX = sys.platform == "linux"
_SHELL_OPTIONS = {"zsh": ["--no-rcs"], "bash": ["--noprofile", "--norc"]}


class Supervisor:
    """One command at a time and all of its descendants."""

    def __init__(self, alive_fd: int, grace_s: float) -> None:
        self._alive_fd = alive_fd
        self._grace_s = grace_s
        self._parent_gone = False
        self._told_to_begin = False
        self.asked_to_end: int | None = None
        self.leftovers = 0
        # Signals become readable bytes: one `select` waits for a child's end, for a signal and for the parent's death.
        self._wake_fd, write_fd = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_ENDING_SIGNALS):
            signal.signal(number, lambda *_: None)
        self._prctl = _become_reaper() if _IS_LINUX else None

    def may_begin(self) -> bool:
        """Wait for the parent's word; False when it is not to come."""
        while not self._told_to_begin and self.asked_to_end is None:
            self._listen(None)
        return self.asked_to_end is None

    def run(self, command: str) -> int:
        """Wait status of `command`, after its whole tree has ended."""
        child = self._start(command)
        status = self._wait_for(child)
        if status is None:
            status = self._end_tree(child)
        else:
            self._end_leftovers(child, status)
        return status

    def _start(self, command: str) -> int:
        shell = os.environ.get("SHELL") or "/bin/sh"
        child = os.fork()
        if child:
            return child
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, *_ENDING_SIGNALS):
                signal.signal(number, signal.SIG_DFL)
            if self._prctl:
                # Were this supervisor itself killed with SIGKILL, the command must not go on unwatched.
                self._prctl(1, signal.SIGKILL, 0, 0, 0)
            os.execv(shell, [shell, *_SHELL_OPTIONS.get(shell.rpartition("/")[2].lower(), []), "-c", command])  # noqa: S606 (it is a shell)
        except OSError as error:
            os.write(2, f"{shell}: {error.strerror}; set SHELL to a shell that exists\n".encode())
        finally:
            os._exit(127)

    def _wait_for(self, child: int) -> int | None:
        """Wait status of `child`; None when it is to be ended instead."""
        while True:
            ended = _reap()
            if child in ended:
                return ended[child]
            self._listen(None)
            if self.asked_to_end is not None:
                return None

    def _listen(self, timeout_s: float | None) -> None:
        """Wait for a signal, a child's end or the parent's death, at most `timeout_s`."""
        watched = [self._wake_fd] if self._parent_gone else [self._wake_fd, self._alive_fd]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if self._wake_fd in ready:
            for number in os.read(self._wake_fd, 512):
                if number in _ENDING_SIGNALS and self.asked_to_end is None:
                    self.asked_to_end = number
        if self._alive_fd in ready:
            if self._read_parent():
                self._told_to_begin = True
                return
            self._parent_gone = True
            if self.asked_to_end is None:
                self.asked_to_end = int(signal.SIGTERM)

    def _read_parent(self) -> bytes:
        try:
            return os.read(self._alive_fd, 512)
        except OSError:
            return b""

    def _end_tree(self, child: int, status: int | None = None) -> int:
        """End `child` and all its descendants; wait status of `child`, which is given when it has ended already."""
        deadline = time.monotonic() + self._grace_s
        told: set[int] = set()
        spared: set[int] = set()
        supervisors: set[int] = set()
        while (living := _descendants(child)) or status is None:
            overdue = time.monotonic() >= deadline
            told_before = frozenset(told)
            for pid, parent in living.items():
                if overdue:
                    _send(pid, signal.SIGKILL)
                elif parent in told_before or parent in spared or parent in supervisors:
                    # What a process starts after it was told to end is its cleaning up: told only when its parent has gone.
                    # What another supervisor watches is told by that one; twice would disturb the cleaning up.
                    spared.add(pid)
                elif pid not in told:
                    if _is_supervisor(pid):
                        supervisors.add(pid)
                    _send(pid, signal.SIGTERM)
                    told.add(pid)
            self._listen(0.02 if overdue else 0.05)
            status = _reap().get(child, status)
        return status

    def _end_leftovers(self, child: int, status: int) -> None:
        """End what the command left running in the background, and count it."""
        deadline = time.monotonic() + LINGER_S
        while living := _descendants(child):
            if time.monotonic() >= deadline or self.asked_to_end is not None:
                self.leftovers += len(living)
                self._end_tree(child, status)
                return
            self._listen(0.02)
            _reap()


def _become_reaper() -> "Callable[..., int]":
    """Make this process the parent of orphaned descendants; the C function `prctl`."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    return prctl


def _reap() -> dict[int, int]:
    """Wait statuses of the children that have ended, by process number."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def _descendants(child: int) -> dict[int, int]:
    """Parent by number of the living processes whose chain of parents leads here; elsewhere than on Linux also of the process group `child`."""
    parents, groups = _linux_processes() if _IS_LINUX else _ps_processes()
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = {pid: parents[pid] for pid, group in groups.items() if group == child}
    queue = [os.getpid()]
    while queue:
        parent = queue.pop()
        below = children.get(parent, [])
        found.update(dict.fromkeys(below, parent))
        queue += below
    return found


def _linux_processes() -> tuple[dict[int, int], dict[int, int]]:
    """Parent by process number of all that are no zombies' remains; groups are not needed where orphans are adopted."""
    parents = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib would double the start-up time)
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            if state not in (b"Z", b"X"):
                parents[int(name)] = int(parent)
    return parents, {}


def _ps_processes() -> tuple[dict[int, int], dict[int, int]]:
    import subprocess

    with subprocess.Popen(["ps", "-axo", "pid=,ppid=,pgid=,stat="], stdout=subprocess.PIPE, text=True) as listing:
        rows = [line.split(maxsplit=3) for line in listing.stdout or ()]
    alive = [(int(pid), int(parent), int(group)) for pid, parent, group, state in rows if not state.startswith("Z") and int(pid) != listing.pid]
    return {pid: parent for pid, parent, _ in alive}, {pid: group for pid, _, group in alive}


def _is_supervisor(pid: int) -> bool:
    """Whether the process runs this program; known on Linux only."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(__file__) in file.read().split(b"\0")[:6]
    except OSError:
        return False


def _send(pid: int, number: int) -> None:
    try:  # noqa: SIM105 (contextlib costs start-up time)
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended meanwhile, or changed its user: nothing more can be done to it from here


def main(arguments: list[str]) -> int:
    keep_fds = [int(number) for number in arguments[0].split(",")]
    for number in keep_fds:
        os.set_inheritable(number, False)
    supervisor = Supervisor(keep_fds[0], float(arguments[1]))
    status = 0
    for command in arguments[2:] if supervisor.may_begin() else ():
        status = supervisor.run(command)
        if status != 0 or supervisor.asked_to_end is not None:
            break
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    ended_from_outside = 128 + supervisor.asked_to_end if supervisor.asked_to_end is not None else 0
    # A command that ends well because it was told to end has not done its work.
    returncode = 128 + number if number else os.WEXITSTATUS(status) or ended_from_outside
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak_rss_bytes = used.ru_maxrss * (1024 if _IS_LINUX else 1)
    report = f"{returncode} {number} {supervisor.leftovers} {peak_rss_bytes} {used.ru_utime + used.ru_stime:.3f}\n"
    try:  # noqa: SIM105 (contextlib costs start-up time)
        os.write(keep_fds[0], report.encode())
    except OSError:
        pass  # nobody is left to read it
    return ended_from_outside or returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
