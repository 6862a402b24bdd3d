// Fetch [OPTIONS] URL... gets each URL in turn with net/http, over connections that it
// keeps, and says what came in a line each. It is here to speak HTTP with servers that
// nobody here wrote.
//
//	-http2              HTTP/2 without TLS, with prior knowledge
//	-range FIRST-LAST   ask for these bytes only
//	-post BYTES         post as many bytes rather than get
package main

import (
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"

	"github.com/stealthrocket/net/wasip1"

	"timecraft/testdata/pattern"
)

const usage = "usage: fetch [-http2] [-range FIRST-LAST] [-post BYTES] URL..."

type options struct {
	http2 bool
	bytes string
	post  int64
}

func main() {
	var o options
	flag.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	flag.BoolVar(&o.http2, "http2", false, "")
	flag.StringVar(&o.bytes, "range", "", "")
	flag.Int64Var(&o.post, "post", -1, "")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	transport := &http.Transport{DialContext: wasip1.DialContext, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!o.http2)
	transport.Protocols.SetUnencryptedHTTP2(o.http2)
	client := &http.Client{Transport: transport}
	for _, url := range flag.Args() {
		if err := fetch(client, o, url); err != nil {
			fmt.Fprintln(os.Stderr, "fetch:", err)
			os.Exit(1)
		}
	}
	client.CloseIdleConnections()
}

func fetch(client *http.Client, o options, url string) error {
	method, body := http.MethodGet, io.Reader(nil)
	if o.post >= 0 {
		method, body = http.MethodPost, pattern.Reader(o.post)
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	if o.post >= 0 {
		request.ContentLength = o.post
	}
	if o.bytes != "" {
		request.Header.Set("Range", "bytes="+o.bytes)
	}
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	sum := crc32.NewIEEE()
	size, err := io.Copy(sum, response.Body)
	if err != nil {
		return fmt.Errorf("%s: after %d bytes: %w", url, size, err)
	}
	fmt.Printf("%s %d bytes=%d crc32=%08x length=%d gzip=%t reused=%t\n", response.Proto,
		response.StatusCode, size, sum.Sum32(), response.ContentLength, response.Uncompressed, reused)
	return nil
}
