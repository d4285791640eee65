"""Programs in forks of a process that has done nothing but import: they end, speak and forget as in an interpreter of their own."""

import os
import signal

import pytest

from tests import warm


def test_a_program_has_the_arguments_folder_environment_and_exit_status_of_its_own(tmp_path):
    program = "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ.get('ONE')); sys.exit(3)"
    done = warm.run("-c", program, "a", "b", cwd=tmp_path, env={"ONE": "1"})
    assert (done.returncode, done.stdout) == (3, f"['a', 'b'] {tmp_path} 1\n")


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [("1 / 0", 1, "ZeroDivisionError"), ("import sys; sys.exit('no such model')", 1, "no such model"), ("import sys; sys.exit(0)", 0, "")],
)
def test_an_error_is_said_where_a_program_says_it(program, status, said):
    done = warm.run("-c", program)
    assert done.returncode == status and said in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_that_ends_it_is_told_and_the_next_program_runs(number):
    assert warm.run("-c", f"import os; os.kill(os.getpid(), {int(number)})").returncode == -number
    assert warm.run("-c", "print('here')").stdout == "here\n"


def test_what_a_program_changes_is_gone_and_what_was_imported_stays():
    assert warm.run("-c", "import json, os; json.changed = 1; os.environ['ONE'] = '1'", imports=["json"]).returncode == 0
    found = warm.run("-c", "import os, sys; print('json' in sys.modules, hasattr(sys.modules['json'], 'changed'), os.environ.get('ONE'))")
    assert found.stdout == "True False None\n"


def test_an_isolated_one_has_not_met_the_project(tmp_path):
    program = "import sys; print(sys.flags.isolated, [name for name in sys.modules if name.partition('.')[0] in ('tests', 'training', 'stages')])"
    assert warm.run("-c", program, isolated=True, cwd=tmp_path).stdout == "1 []\n"
    assert os.getpid() != int(warm.run("-c", "import os; print(os.getppid())").stdout)
