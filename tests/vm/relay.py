"""Joins standard input and output to a TCP port of this machine: one connection from inside a virtual machine."""

import os
import socket
import sys
import threading


def main() -> None:
    """Copy both ways until the server ends the connection."""
    server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))

    def upload() -> None:
        while data := os.read(0, 65536):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)

    threading.Thread(target=upload, daemon=True).start()
    while data := server.recv(65536):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
