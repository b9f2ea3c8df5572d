"""Files are whole or as they were, also where the program is killed in the middle of writing."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from calipers.core.files import whole, write_whole


def test_content_is_written_and_folders_are_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.bin"
    write_whole(file, b"one")
    write_whole(file, b"two")
    assert file.read_bytes() == b"two"
    assert [entry.name for entry in file.parent.iterdir()] == ["b.bin"]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    write_whole(file, b"old")

    def write_half() -> None:
        with whole(file) as new:
            new.write(b"half")
            raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        write_half()
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, b"x")


def test_links_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    file, link = tmp_path / "a.bin", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(file)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    write_whole(Path("/dev/null"), b"x")
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    write_whole(file, b"old")
    program = """
        import sys, time
        from pathlib import Path
        from calipers.core.files import whole
        with whole(Path(sys.argv[1])) as new:
            new.write(b"half")
            new.flush()
            print("writing", flush=True)
            time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert file.read_bytes() == b"old"
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"
