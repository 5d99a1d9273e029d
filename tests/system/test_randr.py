"""The outputs of a real X server, and which resolution several can share."""

import pytest

from livekeep.core.errors import TemporaryError
from livekeep.system import randr
from livekeep.system.randr import Output, Size
from tests.outside import x_server


def output(*sizes: Size) -> Output:
    return Output(1, "HDMI-A-1", {size: number for number, size in enumerate(sizes)}, 0, (), (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("outputs", "size"),
    [
        ([], None),
        ([output((1920, 1080), (1280, 720)), output((3840, 2160), (1920, 1080), (1280, 720))], (1920, 1080)),
        ([output((1920, 1080), (4096, 2160)), output((1920, 1080), (4096, 2160))], (1920, 1080)),
        ([output((1360, 768), (1280, 720), (640, 480)), output((1920, 1080), (640, 480), (1280, 720))], (1280, 720)),
        ([output((1360, 768)), output((1920, 1080))], None),
    ],
)
def test_the_resolution_that_outputs_share(outputs: list[Output], size: Size | None) -> None:
    assert randr.common_size(outputs) == size


def test_a_single_output_is_left_as_it_is() -> None:
    with x_server("640x480x24") as name, randr.connection(name) as display:
        (screen,) = randr.outputs(display)
        assert (screen.area, screen.modes.keys()) == ((0, 0, 640, 480), {(640, 480)})
        assert randr.mirror(display) == ""
        assert randr.outputs(display) == (screen,)


def test_a_server_that_is_absent() -> None:
    with pytest.raises(TemporaryError, match=r"^X display :987: its outputs cannot be read or set"), randr.connection(":987"):
        pass
