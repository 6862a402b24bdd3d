// Serve ADDRESS is an HTTP server, for HTTP/1.1 and for HTTP/2 without TLS (with prior
// knowledge). It is here to be under the load of clients that nobody here wrote. It ends
// when a client asks it to, so that a recording holds how its connections ended:
//
//	/                   a line of text
//	/large?bytes=N      N bytes, a length that is known before (default 1 MiB)
//	/chunked?chunks=N   N lines (default 10), each sent by itself
//	/slow?ms=N          a line of text, after N milliseconds (default 100)
//	/echo               the body of the request
//	/stop               a line of text; the server ends when what is under way has
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/stealthrocket/net/wasip1"

	"timecraft/testdata/pattern"
)

const usage = "usage: serve ADDRESS"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	listener, err := wasip1.Listen("tcp", address)
	if err != nil {
		return err
	}
	stop := make(chan struct{}, 1)
	server := &http.Server{Handler: handler(stop), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)

	stopped := make(chan error)
	go func() {
		<-stop
		stopped <- server.Shutdown(context.Background())
	}()
	fmt.Printf("listening on http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func handler(stop chan<- struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello\n")
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		size, ok := number(w, r, "bytes", 1<<20)
		if !ok {
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		// That the client has gone is in the recording already.
		io.Copy(w, pattern.Reader(size))
	})
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		chunks, ok := number(w, r, "chunks", 10)
		if !ok {
			return
		}
		for chunk := range chunks {
			fmt.Fprintf(w, "chunk %d\n", chunk)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		wait, ok := number(w, r, "ms", 100)
		if !ok {
			return
		}
		select {
		case <-time.After(time.Duration(wait) * time.Millisecond):
			io.WriteString(w, "at last\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/stop", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "bye\n")
		select {
		case stop <- struct{}{}:
		default:
		}
	})
	return mux
}

// number is a parameter of the request; where it is none, the answer is that it is not.
func number(w http.ResponseWriter, r *http.Request, name string, otherwise int64) (int64, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, true
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		http.Error(w, fmt.Sprintf("%s is not a number: %q", name, text), http.StatusBadRequest)
		return 0, false
	}
	return value, true
}
