"""Paints a picture on an X11 screen with python3-xlib.

The picture is the background of a full-screen window, so that the server repaints it by itself.
Sources: the X11 protocol's PutImage and CreateWindow; Xlib uses XAUTHORITY.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from Xlib import X
from Xlib.display import Display
from Xlib.error import ConnectionClosedError, DisplayError, XError, XNoAuthError

from livekeep.core.errors import TemporaryError

if TYPE_CHECKING:
    from PIL import Image

PUT_IMAGE_HEADER_BYTES = 24
# Today's servers use these, with little-endian pixels (BGRX); both take 4 bytes per pixel.
DEPTHS = (24, 32)


class X11Painter:
    """A full-screen window above all others, without a pointer.

    Raises TemporaryError when the server is absent, refuses, disappears or has an unsupported pixel format.
    """

    def __init__(self, name: str) -> None:
        """Connect to the display `name`, such as `:0`."""
        self._name = name
        try:
            self._display = Display(name)
        except (DisplayError, ConnectionClosedError, XNoAuthError, OSError) as error:
            message = (
                f"X11 display {name or '(none)'}: cannot connect: start the X server, check the display's name "
                f"and XAUTHORITY ({' '.join(str(error).split())})"
            )
            raise TemporaryError(message) from error
        screen = self._display.screen()
        if screen.root_depth not in DEPTHS or self._display.display.info.image_byte_order != X.LSBFirst:
            self.close()
            message = f"X11 display {name}: {screen.root_depth} bits a pixel: start the X server with depth 24"
            raise TemporaryError(message)
        self._depth: int = screen.root_depth
        self.size: tuple[int, int] = (screen.width_in_pixels, screen.height_in_pixels)
        self._root = screen.root
        self._root.change_attributes(event_mask=X.StructureNotifyMask)
        self._window: Any = None

    def show(self, image: Image.Image) -> None:
        """Send the picture to the server and show it on the whole screen."""
        try:
            pixmap = self._upload(image)
            if self._window is None:
                self._window = self._make_window(pixmap)
            else:
                self._window.change_attributes(background_pixmap=pixmap)
                self._window.configure(width=image.width, height=image.height)
                self._window.clear_area()
            pixmap.free()
            self._window.configure(stack_mode=X.Above)
            # A round trip: the server has processed all earlier requests.
            self._display.sync()
        except (XError, ConnectionClosedError) as error:
            raise self._lost() from error

    def wait(self) -> None:
        """Return when the screen's size has changed; a window that covers ours is put below it."""
        try:
            while True:
                while self._display.pending_events():
                    event = self._display.next_event()
                    if event.type == X.VisibilityNotify and event.state != X.VisibilityUnobscured:
                        self._window.configure(stack_mode=X.Above)
                        self._display.flush()
                    if event.type == X.ConfigureNotify and event.window == self._root:
                        before, self.size = self.size, (event.width, event.height)
                        if before != self.size:
                            return
                select.select([self._display], [], [])
        except (XError, ConnectionClosedError) as error:
            raise self._lost() from error

    def close(self) -> None:
        """Close the connection: the server removes the window."""
        with suppress(OSError, XError, ConnectionClosedError):
            self._display.close()

    def _upload(self, image: Image.Image) -> Any:
        """Copy the image into a pixmap, in pieces of whole rows that fit the server's maximum request."""
        row_bytes = image.width * 4
        data = memoryview(image.tobytes("raw", "BGRX"))
        longest = self._display.display.info.max_request_length * 4 - PUT_IMAGE_HEADER_BYTES
        step = max(1, longest // row_bytes)
        pixmap = self._root.create_pixmap(image.width, image.height, self._depth)
        context = pixmap.create_gc()
        for row in range(0, image.height, step):
            rows_here = min(step, image.height - row)
            piece = bytes(data[row * row_bytes : (row + rows_here) * row_bytes])
            pixmap.put_image(context, 0, row, image.width, rows_here, X.ZPixmap, self._depth, 0, piece)
        context.free()
        return pixmap

    def _make_window(self, pixmap: Any) -> Any:
        # Without a pointer on it.
        empty = self._root.create_pixmap(1, 1, 1)
        context = empty.create_gc(foreground=0, background=0)
        empty.fill_rectangle(context, 0, 0, 1, 1)
        window = self._root.create_window(
            *(0, 0, *self.size, 0, X.CopyFromParent),
            override_redirect=True,
            background_pixmap=pixmap,
            cursor=empty.create_cursor(empty, (0, 0, 0), (0, 0, 0), 0, 0),
            event_mask=X.VisibilityChangeMask,
        )
        window.set_wm_name("livekeep-error-screen")
        window.map()
        return window

    def _lost(self) -> TemporaryError:
        return TemporaryError(f"X11 display {self._name}: the connection is lost: see why the X server ended")
