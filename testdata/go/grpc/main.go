// Grpc speaks gRPC's own health protocol (grpc.health.v1), calls and streams of it, as
// either side:
//
//	grpc serve ADDRESS CALLS   serves, and ends after so many calls
//	grpc check ADDRESS NAME... asks after each name, and then watches the first
//
// The server knows the names "", "store" (serving) and "index" (not serving).
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/stealthrocket/net/wasip1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const usage = "usage: grpc serve ADDRESS CALLS | grpc check ADDRESS NAME..."

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "serve":
		calls, invalid := strconv.ParseInt(os.Args[3], 10, 64)
		if invalid != nil || calls < 1 || len(os.Args) != 4 {
			fmt.Fprintln(os.Stderr, usage)
			os.Exit(2)
		}
		err = serve(os.Args[2], calls)
	case "check":
		err = check(os.Args[2], os.Args[3:])
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

func serve(address string, calls int64) error {
	listener, err := wasip1.Listen("tcp", address)
	if err != nil {
		return err
	}
	last := make(chan struct{})
	var left atomic.Int64
	left.Store(calls)
	done := func() {
		if left.Add(-1) == 0 {
			close(last)
		}
	}
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			defer done()
			return handler(ctx, request)
		}),
		grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			defer done()
			return handler(service, stream)
		}),
	)
	states := health.NewServer()
	states.SetServingStatus("store", grpc_health_v1.HealthCheckResponse_SERVING)
	states.SetServingStatus("index", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	grpc_health_v1.RegisterHealthServer(server, states)
	go func() {
		<-last
		server.GracefulStop()
	}()
	fmt.Printf("listening on %s\n", listener.Addr())
	return server.Serve(listener)
}

func check(address string, names []string) error {
	connection, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return wasip1.DialContext(ctx, "tcp", address)
		}),
	)
	if err != nil {
		return err
	}
	client := grpc_health_v1.NewHealthClient(connection)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, name := range names {
		answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: name})
		if err != nil {
			// What the server refuses is an answer, too.
			failure, ok := status.FromError(err)
			if !ok {
				return err
			}
			fmt.Printf("check %q: %s: %s\n", name, failure.Code(), failure.Message())
			continue
		}
		fmt.Printf("check %q: %s\n", name, answer.GetStatus())
	}
	watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: names[0]})
	if err != nil {
		return err
	}
	answer, err := watch.Recv()
	if err != nil {
		return err
	}
	fmt.Printf("watch %q: %s\n", names[0], answer.GetStatus())
	cancel()
	if _, err := watch.Recv(); err == nil {
		return errors.New("a watch that was cancelled goes on")
	}
	return connection.Close()
}
