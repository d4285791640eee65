import errno
import io
import os
import threading

from orchestration.bridge.step_output import StreamByThread, streams_by_thread


def test_what_a_thread_writes_goes_into_its_own_file_and_is_shown():
    shown, files = io.StringIO(), [io.StringIO(), io.StringIO()]
    stream = StreamByThread(shown)

    def work(number: int) -> None:
        with stream.into(files[number]):
            print(f"from {number}", file=stream)
        print(f"after {number}", file=stream)

    for number in range(2):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()

    assert [file.getvalue() for file in files] == ["from 0\n", "from 1\n"]
    assert shown.getvalue() == "from 0\nafter 0\nfrom 1\nafter 1\n"


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_once_and_stops_nobody():
    shown = io.StringIO()
    stream = StreamByThread(shown)

    with stream.into(FullDisk()):
        print("first", file=stream)
        print("second", file=stream)

    assert shown.getvalue() == "what this step prints is not kept any longer: [Errno 28] No space left on device\nfirst\nsecond\n"


def test_the_streams_of_the_process_are_restored(capsys):
    with streams_by_thread():
        print("within")
    print("after")

    assert capsys.readouterr().out == "within\nafter\n"
