"""Two HTTP services are asked at the same time and their answers merged; then one fails and the request to the other is
cancelled at once; then one is too slow and the deadline ends it; in the end nothing is left over."""

import os
import socket
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException

from cwaitgroup import Cancelled, DeadlineExceeded, ErrGroup, current_context
from http_service import Service


class ServiceError(Exception):
    pass


def get(port: int) -> str:
    """The body that the service on `port` answers with. Ends at once when the group of this task is cancelled."""
    context = current_context()
    assert context is not None
    connection = HTTPConnection("127.0.0.1", port, timeout=context.remaining())
    connection.connect()
    sock = connection.sock
    stop = context.add_callback(lambda: sock.shutdown(socket.SHUT_RDWR))  # wakes the read below
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read().decode()
    except (OSError, HTTPException):
        context.check()  # if it was cancelled, that is the reason, whatever the socket says
        raise
    finally:
        stop()
        connection.close()
    if response.status != 200:
        raise ServiceError(f"{response.status} {response.reason}")
    return body


def show(name: str, outcome: object, start: float) -> None:
    print(f"  {name:14}{outcome!s:26}{(time.monotonic() - start) * 1000:5.0f} ms", flush=True)


def fetch(name: str, port: int) -> str:
    start = time.monotonic()
    try:
        body = get(port)
    except Cancelled:
        show(name, "cancelled", start)
        raise
    except ServiceError as error:
        show(name, error, start)
        raise
    show(name, body, start)
    return body


def product(availability: Service, price: Service, timeout: float) -> None:
    start = time.monotonic()
    try:
        with ErrGroup(timeout=timeout) as group:
            stock = group.go(fetch, "availability", availability.server_port)
            money = group.go(fetch, "price", price.server_port)
        show("product", f"{stock.result()} at {money.result()}", start)
    except DeadlineExceeded:
        show("product", "deadline exceeded", start)
    except ServiceError as error:
        show("product", error, start)


def main() -> int:
    threads, fds = threading.active_count(), len(os.listdir("/proc/self/fd"))

    print("both services answer, after 80 and 100 ms")
    with Service(200, "7 in stock", 0.08) as availability, Service(200, "19.99", 0.1) as price:
        product(availability, price, timeout=30)
    print("price fails after 20 ms, availability would take 5000 ms")
    with Service(200, "7 in stock", 5) as availability, Service(503, "", 0.02) as price:
        product(availability, price, timeout=30)
    print("availability would take 5000 ms, the deadline is at 150 ms")
    with Service(200, "7 in stock", 5) as availability, Service(200, "19.99", 0.1) as price:
        product(availability, price, timeout=0.15)

    print("left over, once the idle threads are gone")
    give_up = time.monotonic() + 20
    while threading.active_count() > threads and time.monotonic() < give_up:
        time.sleep(0.05)
    threads, fds = threading.active_count() - threads, len(os.listdir("/proc/self/fd")) - fds
    print(f"  threads {threads}, file descriptors {fds}")
    return 1 if threads or fds else 0


if __name__ == "__main__":
    sys.exit(main())
