"""What stands on a real terminal, at the end."""

from pathlib import Path

import pytest

from tests.helpers.terminal import interrupted


@pytest.mark.parametrize("columns", [62, 80])
def test_ctrl_c_leaves_each_line_once_and_says_so_once(folder: Path, columns: int) -> None:
    options = ("run", "suite.yaml", "--set", "pretrain.epochs=100000")
    code, lines = interrupted(folder, *options, columns=columns, when=lambda text: text.count("loss") > 5)
    assert code == 130
    said = "\n".join(lines)
    assert said.count("jobs, ") == 1 and said.count("interrupted") == 1, said
    assert lines[-2].startswith("0 done, 0 reused") and lines[-1].startswith("interrupted; all that is done is kept")
