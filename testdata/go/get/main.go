//go:build wasip1

// Get prints what is at a URL. Of https the host does the TLS, so that the
// recording has what was said. Exits with 1 where the answer is an error.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"timecraft/testdata/tlsoffload"

	_ "github.com/stealthrocket/net/http"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: get URL")
		os.Exit(2)
	}
	if err := get(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "get:", err)
		os.Exit(1)
	}
}

func get(url string) error {
	http.DefaultTransport.(*http.Transport).DialTLSContext = tlsoffload.DialContext
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode >= 400 {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
