// sockets2 [PATH]: talks with itself over loopback, TCP and UDP, IPv4 and IPv6, and over a
// Unix socket at PATH of the host if one is given, by version 2 of WasmEdge's sockets:
// addresses are 128 bytes that begin with the family. It prints one line a step; the exit
// status is 1 if any went otherwise than it must.

#include "sockets.h"

typedef struct {
    uint16_t family;
    uint8_t data[126];
} wide_address;

WASI_IMPORT("sock_accept")
wasi_errno sock_accept(int32_t fd, uint32_t flags, int32_t *connection);

WASI_IMPORT("sock_recv_from")
wasi_errno sock_recv_from(int32_t fd, const wasi_ciovec *vectors, size_t count, const address_buffer *address,
                          uint32_t flags, uint32_t *port, size_t *received, uint32_t *out_flags);

WASI_IMPORT("sock_getlocaladdr")
wasi_errno sock_getlocaladdr(int32_t fd, const address_buffer *address, uint32_t *port);

WASI_IMPORT("sock_getpeeraddr")
wasi_errno sock_getpeeraddr(int32_t fd, const address_buffer *address, uint32_t *port);

static wasi_errno accept_connection(int32_t fd, int32_t *connection)
{
    return sock_accept(fd, 0, connection);
}

static wasi_errno receive_from(int32_t fd, void *data, size_t size, size_t *received)
{
    wide_address from;
    address_buffer address = { &from, sizeof from };
    wasi_ciovec in = { data, size };
    uint32_t port, flags;
    return sock_recv_from(fd, &in, 1, &address, 0, &port, received, &flags);
}

static wasi_errno local_port(int32_t fd, uint32_t *port)
{
    wide_address bytes;
    address_buffer address = { &bytes, sizeof bytes };
    return sock_getlocaladdr(fd, &address, port);
}

static wasi_errno peer_port(int32_t fd, uint32_t *port)
{
    wide_address bytes;
    address_buffer address = { &bytes, sizeof bytes };
    return sock_getpeeraddr(fd, &address, port);
}

static address_buffer wide(wide_address *address, uint16_t family, const void *data, size_t size)
{
    *address = (wide_address){ .family = family };
    memcpy(address->data, data, size);
    return (address_buffer){ address, sizeof *address };
}

static void unix_stream(const char *path)
{
    wide_address bytes;
    address_buffer address = wide(&bytes, AF_UNIX, path, strlen(path));
    int32_t server, client, connection;
    step("open a server", sock_open(AF_UNIX, SOCK_STREAM, &server), OK);
    step("bind it", sock_bind(server, &address, 0), OK);
    step("listen", sock_listen(server, 1), OK);
    step("open a client", sock_open(AF_UNIX, SOCK_STREAM, &client), OK);
    step("connect it", sock_connect(client, &address, 0), OK);
    step("accept", accept_connection(server, &connection), OK);
    pass("to the server", client, connection, "a question");
    step("close the connection", wasi_fd_close(connection), OK);
    step("close the client", wasi_fd_close(client), OK);
    step("close the server", wasi_fd_close(server), OK);
}

int main(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && strlen(argv[1]) > 107)) {
        fprintf(stderr, "usage: %s [PATH]\n", argv[0]);
        return 2;
    }
    wide_address bytes;
    stream(AF_INET, wide(&bytes, AF_INET, loopback4, sizeof loopback4));
    stream(AF_INET6, wide(&bytes, AF_INET6, loopback6, sizeof loopback6));
    datagrams(AF_INET, wide(&bytes, AF_INET, loopback4, sizeof loopback4));
    datagrams(AF_INET6, wide(&bytes, AF_INET6, loopback6, sizeof loopback6));
    names();
    if (argc == 2) {
        unix_stream(argv[1]);
    }
    return failures > 0;
}
