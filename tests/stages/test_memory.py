import resource

from stages.memory import peak_memory_mib


def test_the_peak_grows_with_what_the_process_holds_and_is_that_of_the_largest():
    before = peak_memory_mib()
    held = bytearray(int((before + 64) * 2**20))
    after = peak_memory_mib()
    assert before + 32 < after < 2 * before + 256
    assert peak_memory_mib(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN) >= peak_memory_mib(resource.RUSAGE_CHILDREN)
    del held
