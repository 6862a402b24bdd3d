"""A server of gRPC's health protocol, on the C implementation of gRPC. Messages are written by hand,
so that it needs no generated code. Prints each call, and whose it was.

Usage: grpc_server.py PORT
"""

import signal
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "/grpc.health.v1.Health/"
# HealthCheckResponse: field 1, the status.
STATES = {"": b"\x08\x01", "store": b"\x08\x01", "index": b"\x08\x02"}


def name_of(request):
    """HealthCheckRequest: field 1, the name; nothing where it is empty."""
    return request[2:].decode()


def check(request, context):
    name = name_of(request)
    print("Check", repr(name), context.peer(), flush=True)
    if name not in STATES:
        context.abort(grpc.StatusCode.NOT_FOUND, f"no service {name!r}")
    return STATES[name]


def watch(request, context):
    name = name_of(request)
    print("Watch", repr(name), context.peer(), flush=True)
    yield STATES[name]
    over = threading.Event()
    if context.add_callback(over.set):
        over.wait()


class Health(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            SERVICE + "Check": grpc.unary_unary_rpc_method_handler(check),
            SERVICE + "Watch": grpc.unary_stream_rpc_method_handler(watch),
        }.get(details.method)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Health(),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    server.start()
    end.wait()
    server.stop(0).wait()


if __name__ == "__main__":
    main()
