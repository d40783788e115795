import os

import pytest

from planish.tasks.sandbox.child import SandboxError
from planish.tasks.sandbox.process import Server


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_child_whose_server_is_gone_tells_no_fate_and_keeps_no_socket() -> None:
    with Server("fork", "candidate") as server:
        before = open_files()
        child = server.spawn(keep=100)
        assert open_files() == before + 1
        server.stop()
        with pytest.raises(SandboxError, match="the server is gone"):
            child.fate()
        assert open_files() == before
