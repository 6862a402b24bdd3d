// sockets1: talks with itself over loopback, TCP and UDP, IPv4 and IPv6, by version 1 of
// WasmEdge's sockets: addresses are 4 or 16 bytes, and the family is told apart. It
// prints one line a step; the exit status is 1 if any went otherwise than it must.

#include "sockets.h"

WASI_IMPORT("sock_accept")
wasi_errno sock_accept(int32_t fd, int32_t *connection);

WASI_IMPORT("sock_recv_from")
wasi_errno sock_recv_from(int32_t fd, const wasi_ciovec *vectors, size_t count, const address_buffer *address,
                          uint32_t flags, size_t *received, uint32_t *out_flags);

WASI_IMPORT("sock_getlocaladdr")
wasi_errno sock_getlocaladdr(int32_t fd, const address_buffer *address, uint32_t *type, uint32_t *port);

WASI_IMPORT("sock_getpeeraddr")
wasi_errno sock_getpeeraddr(int32_t fd, const address_buffer *address, uint32_t *type, uint32_t *port);

static wasi_errno accept_connection(int32_t fd, int32_t *connection)
{
    return sock_accept(fd, connection);
}

static wasi_errno receive_from(int32_t fd, void *data, size_t size, size_t *received)
{
    uint8_t from[16];
    address_buffer address = { from, sizeof from };
    wasi_ciovec in = { data, size };
    uint32_t flags;
    return sock_recv_from(fd, &in, 1, &address, 0, received, &flags);
}

static wasi_errno local_port(int32_t fd, uint32_t *port)
{
    uint8_t bytes[16];
    address_buffer address = { bytes, sizeof bytes };
    uint32_t type;
    return sock_getlocaladdr(fd, &address, &type, port);
}

static wasi_errno peer_port(int32_t fd, uint32_t *port)
{
    uint8_t bytes[16];
    address_buffer address = { bytes, sizeof bytes };
    uint32_t type;
    return sock_getpeeraddr(fd, &address, &type, port);
}

int main(int argc, char **argv)
{
    if (argc != 1) {
        fprintf(stderr, "usage: %s\n", argv[0]);
        return 2;
    }
    stream(AF_INET, (address_buffer){ loopback4, sizeof loopback4 });
    stream(AF_INET6, (address_buffer){ loopback6, sizeof loopback6 });
    datagrams(AF_INET, (address_buffer){ loopback4, sizeof loopback4 });
    datagrams(AF_INET6, (address_buffer){ loopback6, sizeof loopback6 });
    names();
    return failures > 0;
}
