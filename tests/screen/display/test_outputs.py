"""Whether the output can be opened yet, asked of real sockets and of trees like the kernel's."""

import socket
from pathlib import Path

import pytest

from livekeep.core.config import Screen
from livekeep.screen.display.outputs import accepts, has_gpu, obstacle, wayland_socket, x11_socket


@pytest.mark.parametrize(("name", "number"), [("", 0), (":0", 0), (":1", 1), (":12.0", 12)])
def test_an_x_display_has_its_socket(name: str, number: int) -> None:
    assert x11_socket(Screen(x11_display=name)) == Path(f"/tmp/.X11-unix/X{number}")


def test_a_wayland_display_is_below_the_users_folder_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert wayland_socket(Screen()) == tmp_path / "wayland-0"
    assert wayland_socket(Screen(wayland_display="wayland-7")) == tmp_path / "wayland-7"
    assert wayland_socket(Screen(wayland_display="/run/there")) == Path("/run/there")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert wayland_socket(Screen()) == Path("/run/user/1000/wayland-0")


def test_a_desktop_is_waited_for_until_it_listens(tmp_path: Path) -> None:
    """A socket's file alone may be what a desktop left behind that has ended."""
    path = tmp_path / "wayland-0"
    screen = Screen(output="wayland", wayland_display=str(path))
    waiting = f"Waiting for the desktop's {path}; is the desktop running?"
    assert obstacle(screen) == waiting
    with socket.socket(socket.AF_UNIX) as desktop:
        desktop.bind(str(path))
        assert obstacle(screen) == waiting
        desktop.listen()
        assert obstacle(screen) == ""
    assert path.exists()
    assert obstacle(screen) == waiting


def test_an_x_server_may_listen_by_its_abstract_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "X7"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{path}")
        server.listen()
        assert accepts(path)
    assert not accepts(path)


def test_a_tv_is_waited_for_by_the_name_of_its_connector() -> None:
    screen = Screen(output="drm", connector="HDMI-A-9")
    assert obstacle(screen) == "Waiting for a TV on HDMI-A-9; is it plugged in and on?"


@pytest.mark.parametrize(
    ("drivers", "has"),
    [((), False), (("v3d",), True), (("vkms",), False), (("virtio_gpu", "i915"), True), (("vgem", "virtio-pci"), False)],
)
def test_a_renderer_in_software_is_no_graphics_processor(tmp_path: Path, drivers: tuple[str, ...], has: bool) -> None:
    for number, driver in enumerate(drivers, 128):
        device = tmp_path / f"drm/renderD{number}/device"
        device.mkdir(parents=True)
        (tmp_path / driver).mkdir()
        (device / "driver").symlink_to(tmp_path / driver)
    (tmp_path / "drm/card0").mkdir(parents=True)
    assert has_gpu(tmp_path / "drm") is has
