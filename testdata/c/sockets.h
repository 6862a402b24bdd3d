// WasmEdge's sockets, declared here and not by a library, so that which calls a guest
// makes is written in its source. What both versions have alike; each guest declares
// the rest. And the steps that both take, over loopback, with themselves.

#ifndef SOCKETS_H
#define SOCKETS_H

#include <stdio.h>
#include <string.h>

#include "wasi.h"

enum { AF_INET = 1, AF_INET6 = 2, AF_UNIX = 3 };
enum { SOCK_DGRAM = 1, SOCK_STREAM = 2 };
enum { SOL_SOCKET = 0, SO_REUSEADDR = 0, SO_TYPE = 1, SO_ERROR = 2 };
enum { SHUT_RD = 1, SHUT_WR = 2 };
enum { FDFLAGS_NONBLOCK = 4 };
enum { OK = 0, EAGAIN = 6, ECONNREFUSED = 14, EINPROGRESS = 26 };

// The bytes of an address, and how many there are.
typedef struct {
    void *data;
    size_t size;
} address_buffer;

typedef struct address_info {
    uint16_t flags;
    uint8_t family;
    uint8_t type;
    uint32_t protocol;
    uint32_t address_size;
    struct {
        uint8_t family;
        uint32_t data_size;
        uint8_t *data;
        uint32_t unused;
    } *address;
    char *name;
    uint32_t name_size;
    struct address_info *next;
} address_info;

WASI_IMPORT("sock_open")
wasi_errno sock_open(int32_t family, int32_t type, int32_t *fd);

WASI_IMPORT("sock_bind")
wasi_errno sock_bind(int32_t fd, const address_buffer *address, uint32_t port);

WASI_IMPORT("sock_connect")
wasi_errno sock_connect(int32_t fd, const address_buffer *address, uint32_t port);

WASI_IMPORT("sock_listen")
wasi_errno sock_listen(int32_t fd, int32_t backlog);

WASI_IMPORT("sock_send_to")
wasi_errno sock_send_to(int32_t fd, const wasi_ciovec *vectors, size_t count, const address_buffer *address,
                        uint32_t port, uint32_t flags, size_t *sent);

WASI_IMPORT("sock_getsockopt")
wasi_errno sock_getsockopt(int32_t fd, uint32_t level, uint32_t name, void *value, size_t size);

WASI_IMPORT("sock_setsockopt")
wasi_errno sock_setsockopt(int32_t fd, uint32_t level, uint32_t name, const void *value, size_t size);

WASI_IMPORT("sock_getaddrinfo")
wasi_errno sock_getaddrinfo(const char *node, size_t node_size, const char *service, size_t service_size,
                            const address_info *hints, address_info **results, uint32_t most, uint32_t *count);

WASI_IMPORT("sock_recv")
wasi_errno sock_recv(int32_t fd, const wasi_ciovec *vectors, size_t count, uint32_t flags, size_t *received,
                     uint16_t *out_flags);

WASI_IMPORT("sock_send")
wasi_errno sock_send(int32_t fd, const wasi_ciovec *vectors, size_t count, uint32_t flags, size_t *sent);

WASI_IMPORT("sock_shutdown")
wasi_errno sock_shutdown(int32_t fd, uint32_t how);

WASI_IMPORT("fd_fdstat_set_flags")
wasi_errno wasi_fd_fdstat_set_flags(int32_t fd, uint32_t flags);

WASI_IMPORT("fd_close")
wasi_errno wasi_fd_close(int32_t fd);

// What each version has in its own way.
static wasi_errno accept_connection(int32_t fd, int32_t *connection);
static wasi_errno receive_from(int32_t fd, void *data, size_t size, size_t *received);
static wasi_errno local_port(int32_t fd, uint32_t *port);
static wasi_errno peer_port(int32_t fd, uint32_t *port);

static uint8_t loopback4[4] = { 127, 0, 0, 1 };
static uint8_t loopback6[16] = { [15] = 1 };

static int failures;

// One line a step: `ok`, or what came instead of what must.
static void step(const char *what, wasi_errno error, wasi_errno expected)
{
    if (error == expected) {
        printf("%s: ok\n", what);
    } else {
        printf("%s: errno %u, not %u\n", what, error, expected);
        failures++;
    }
}

static void holds(const char *what, int true_or_not)
{
    step(what, true_or_not ? OK : UINT16_MAX, OK);
}

// Sends `text` through one end of a connection, and looks whether it comes out at the other.
static void pass(const char *what, int32_t from, int32_t to, const char *text)
{
    char buffer[64];
    wasi_ciovec out = { text, strlen(text) }, in = { buffer, sizeof buffer };
    size_t sent = 0, received = 0;
    uint16_t flags = 0;
    step("send", sock_send(from, &out, 1, 0, &sent), OK);
    step("receive", sock_recv(to, &in, 1, 0, &received, &flags), OK);
    holds(what, sent == out.size && received == sent && memcmp(buffer, text, sent) == 0);
}

// A server and its client, of the family of this address.
static void stream(int32_t family, address_buffer address)
{
    int32_t server, client, connection;
    uint32_t port = 0, client_port = 0, peers_port = 0, value = 1, type = 0;
    step("open a server", sock_open(family, SOCK_STREAM, &server), OK);
    step("reuse its address", sock_setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value), OK);
    step("bind it", sock_bind(server, &address, 0), OK);
    step("its port", local_port(server, &port), OK);
    step("listen", sock_listen(server, 8), OK);
    step("open a client", sock_open(family, SOCK_STREAM, &client), OK);
    step("its type", sock_getsockopt(client, SOL_SOCKET, SO_TYPE, &type, sizeof type), OK);
    holds("a stream", type == SOCK_STREAM);
    step("connect it", sock_connect(client, &address, port), OK);
    step("accept", accept_connection(server, &connection), OK);
    step("the client's port", local_port(client, &client_port), OK);
    step("the peer's port", peer_port(connection, &peers_port), OK);
    holds("the ports agree", client_port == peers_port && client_port != port);
    pass("to the server", client, connection, "a question");
    pass("to the client", connection, client, "an answer");
    step("end what the client says", sock_shutdown(client, SHUT_WR), OK);

    char buffer[8];
    wasi_ciovec in = { buffer, sizeof buffer };
    size_t received = 1;
    uint16_t flags;
    step("receive the end", sock_recv(connection, &in, 1, 0, &received, &flags), OK);
    holds("nothing more", received == 0);
    pass("to the client alone", connection, client, "goodbye");
    step("close the connection", wasi_fd_close(connection), OK);
    step("close the client", wasi_fd_close(client), OK);
    step("close the server", wasi_fd_close(server), OK);

    // Nobody is there any more.
    step("open another", sock_open(family, SOCK_STREAM, &client), OK);
    step("connect to nobody", sock_connect(client, &address, port), ECONNREFUSED);
    step("close it", wasi_fd_close(client), OK);
}

static void datagrams(int32_t family, address_buffer address)
{
    int32_t server, client;
    uint32_t port = 0;
    char buffer[64];
    wasi_ciovec out = { "a datagram", 10 };
    size_t sent = 0, received = 0;
    step("open a receiver", sock_open(family, SOCK_DGRAM, &server), OK);
    step("bind it", sock_bind(server, &address, 0), OK);
    step("its port", local_port(server, &port), OK);
    step("do not wait", wasi_fd_fdstat_set_flags(server, FDFLAGS_NONBLOCK), OK);
    step("nothing came", receive_from(server, buffer, sizeof buffer, &received), EAGAIN);
    step("wait", wasi_fd_fdstat_set_flags(server, 0), OK);
    step("open a sender", sock_open(family, SOCK_DGRAM, &client), OK);
    step("send", sock_send_to(client, &out, 1, &address, port, 0, &sent), OK);
    if (sent == 0) {
        return; // What was not sent never comes.
    }
    step("receive", receive_from(server, buffer, sizeof buffer, &received), OK);
    holds("the same", sent == 10 && received == 10 && memcmp(buffer, "a datagram", 10) == 0);
    step("close the sender", wasi_fd_close(client), OK);
    step("close the receiver", wasi_fd_close(server), OK);
}

static void names(void)
{
    uint8_t data[2][26] = { 0 };
    address_info results[2] = { 0 }, hints = { .family = AF_INET, .type = SOCK_STREAM };
    __typeof__(*results[0].address) addresses[2] = { 0 };
    for (int i = 0; i < 2; i++) {
        addresses[i].data = data[i];
        addresses[i].data_size = sizeof data[i];
        results[i].address = &addresses[i];
    }
    results[0].next = &results[1];
    address_info *first = results;
    uint32_t count = 0;
    step("look localhost up", sock_getaddrinfo("localhost", 9, "80", 2, &hints, &first, 2, &count), OK);
    const uint8_t expected[] = { 0, 80, 127, 0, 0, 1 };
    holds("loopback", count == 1 && addresses[0].family == AF_INET && memcmp(data[0], expected, 6) == 0);
}

#endif
