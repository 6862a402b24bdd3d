// Hello greets the world, or each of its arguments on a line of its own.
package main

import (
	"fmt"
	"os"
)

func main() {
	names := os.Args[1:]
	if len(names) == 0 {
		names = []string{"world"}
	}
	for _, name := range names {
		fmt.Println("hello,", name)
	}
}
