// Dns SERVER KIND:NAME... asks a name server by Go's own resolver and prints what it
// answers, a line each, in an order that does not depend on the server's. The kinds are A,
// AAAA, HOST (both at once), CNAME, TXT, MX, SRV and PTR (the name is an address then).
// An answer that does not fit a datagram makes the resolver ask again over TCP.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/stealthrocket/net/wasip1"
)

const usage = "usage: dns SERVER KIND:NAME..."

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	resolver := &net.Resolver{
		PreferGo: true,
		// Whatever the machine's own name servers are.
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return wasip1.DialContext(ctx, network, os.Args[1])
		},
	}
	for _, question := range os.Args[2:] {
		kind, name, ok := strings.Cut(question, ":")
		if !ok {
			fmt.Fprintln(os.Stderr, usage)
			os.Exit(2)
		}
		answers, err := ask(resolver, kind, name)
		var failure *net.DNSError
		switch {
		case errors.As(err, &failure) && failure.IsNotFound:
			answers = []string{"not found"}
		case err != nil:
			fmt.Fprintln(os.Stderr, "dns:", err)
			os.Exit(1)
		}
		slices.Sort(answers)
		fmt.Printf("%s %s\n", question, strings.Join(answers, " "))
	}
}

func ask(resolver *net.Resolver, kind, name string) ([]string, error) {
	ctx := context.Background()
	// The final dot keeps the machine's search list out.
	full := strings.TrimSuffix(name, ".") + "."
	var answers []string
	switch kind {
	case "A", "AAAA", "HOST":
		network := map[string]string{"A": "ip4", "AAAA": "ip6", "HOST": "ip"}[kind]
		addresses, err := resolver.LookupNetIP(ctx, network, full)
		for _, address := range addresses {
			answers = append(answers, address.Unmap().String())
		}
		return answers, err
	case "CNAME":
		canonical, err := resolver.LookupCNAME(ctx, full)
		return []string{canonical}, err
	case "TXT":
		texts, err := resolver.LookupTXT(ctx, full)
		for _, text := range texts {
			answers = append(answers, fmt.Sprintf("%q", text))
		}
		return answers, err
	case "MX":
		exchanges, err := resolver.LookupMX(ctx, full)
		for _, mx := range exchanges {
			answers = append(answers, fmt.Sprintf("%d=%s", mx.Pref, mx.Host))
		}
		return answers, err
	case "SRV":
		_, services, err := resolver.LookupSRV(ctx, "", "", full)
		for _, srv := range services {
			answers = append(answers, fmt.Sprintf("%d/%d=%s:%d", srv.Priority, srv.Weight, srv.Target, srv.Port))
		}
		return answers, err
	case "PTR":
		return resolver.LookupAddr(ctx, name)
	default:
		return nil, fmt.Errorf("no such kind: %s\n%s", kind, usage)
	}
}
