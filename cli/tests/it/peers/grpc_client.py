"""A client of gRPC's health protocol, on the C implementation of gRPC: asks after each name as often as
it is told, all at once, and prints the answers, a line a name. Messages are written by hand, so that it
needs no generated code.

Usage: grpc_client.py ADDRESS TIMES NAME...
"""

import sys

import grpc


def main():
    address, times, *names = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        # HealthCheckRequest: field 1, the name.
        request = lambda name: bytes([0x0A, len(name)]) + name.encode()
        calls = {name: [check.future(request(name)) for _ in range(int(times))] for name in names}
        for name, futures in calls.items():
            answers = {f.result().hex() if f.exception() is None else f.code().name for f in futures}
            print(name, *sorted(answers))


if __name__ == "__main__":
    main()
