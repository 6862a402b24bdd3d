//go:build wasip1

// Package tlsoffload has timecraft do the TLS of net/http's connections: the
// guest talks in clear text, and that is what is recorded.
//
//	transport := http.DefaultTransport.(*http.Transport)
//	transport.DialTLSContext = tlsoffload.DialContext
//
// It must be dialled with the module github.com/stealthrocket/net, whose
// sockets are WasmEdge's.
package tlsoffload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/stealthrocket/net/wasip1"
)

// The option that hands TLS to the host: its value is the server's name. Read
// it is 1 once the handshake is done; EAGAIN means that it goes on.
const (
	levelTimecraft      = 0x74696d65 // "time"
	optionTLSServerName = 1
)

//go:wasmimport wasi_snapshot_preview1 sock_setsockopt
//go:noescape
func sockSetsockopt(fd int32, level, name uint32, value unsafe.Pointer, length uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_getsockopt
//go:noescape
func sockGetsockopt(fd int32, level, name uint32, value unsafe.Pointer, length uint32) uint32

// DialContext connects to the address, and returns when the host has verified
// that the server is who the address says. It is a DialTLSContext of net/http.
func DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := wasip1.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := handshake(ctx, conn, name); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", name, err)
	}
	return conn, nil
}

func handshake(ctx context.Context, conn net.Conn, name string) error {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("the connection is no socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	value := []byte(name)
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		errno = syscall.Errno(sockSetsockopt(int32(fd), levelTimecraft, optionTLSServerName,
			unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value))))
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	err = raw.Write(func(fd uintptr) bool {
		var done uint32
		errno = syscall.Errno(sockGetsockopt(int32(fd), levelTimecraft, optionTLSServerName,
			unsafe.Pointer(&done), uint32(unsafe.Sizeof(done))))
		return errno != syscall.EAGAIN
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	if errno != 0 {
		return os.NewSyscallError("getsockopt", errno)
	}
	return nil
}
