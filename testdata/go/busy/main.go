// Busy DIRECTORY [WORKERS [ROUNDS]] runs goroutines that wait on timers, exchange
// results over channels, and write and read back files in a directory. The Go runtime
// turns all of it into host calls of one thread (clock reads, polls for the next timer,
// file calls), interleaved in an order that differs from run to run, which is what makes
// it a test of replay. What it prints does not differ.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"
)

// A result is what a worker did in one round.
type result struct {
	worker int
	bytes  int
	sum    uint32
}

// A summary is what a worker did in all of its rounds.
type summary struct {
	rounds int
	bytes  int
	sum    uint32
}

const usage = "usage: busy DIRECTORY [WORKERS [ROUNDS]]"

func main() {
	if len(os.Args) < 2 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	workers, rounds := 8, 10
	for i, number := range []*int{&workers, &rounds} {
		if len(os.Args) <= i+2 {
			break
		}
		parsed, err := strconv.Atoi(os.Args[i+2])
		if err != nil || parsed < 1 {
			fmt.Fprintln(os.Stderr, usage)
			os.Exit(2)
		}
		*number = parsed
	}
	if err := run(os.Args[1], workers, rounds); err != nil {
		fmt.Fprintln(os.Stderr, "busy:", err)
		os.Exit(1)
	}
}

func run(directory string, workers, rounds int) error {
	results := make(chan result)
	failures := make(chan error)
	for worker := range workers {
		go work(directory, worker, rounds, results, failures)
	}

	summaries := make(map[int]summary)
	var failed []error
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	ticks := 0
	for finished := 0; finished < workers; {
		select {
		case result := <-results:
			s := summaries[result.worker]
			s.rounds++
			s.bytes += result.bytes
			// Order of rounds within a worker is fixed, that between workers is not.
			s.sum = s.sum*31 + result.sum
			summaries[result.worker] = s
		case err := <-failures:
			finished++
			if err != nil {
				failed = append(failed, err)
			}
		case <-ticker.C:
			ticks++
		case <-time.After(time.Minute):
			return errors.New("no worker did anything for a minute")
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}

	order := make([]int, 0, len(summaries))
	for worker := range summaries {
		order = append(order, worker)
	}
	sort.Ints(order)
	for _, worker := range order {
		s := summaries[worker]
		fmt.Printf("worker %d: %d rounds, %d bytes, sum %08x\n", worker, s.rounds, s.bytes, s.sum)
	}
	// How often it ticked depends on the machine; that it did does not.
	fmt.Printf("ticked: %t\n", ticks > 0)
	return nil
}

// work does all rounds of one worker, and reports its end, with nil or what failed, on
// failures.
func work(directory string, worker, rounds int, results chan<- result, failures chan<- error) {
	path := filepath.Join(directory, fmt.Sprintf("busy-%d.txt", worker))
	for round := range rounds {
		// Different for each, so that the timers interleave.
		time.Sleep(time.Duration(1+(worker*7+round*3)%5) * time.Millisecond)
		done, err := writeAndReadBack(path, worker, round)
		if err != nil {
			failures <- err
			return
		}
		results <- done
	}
	failures <- os.Remove(path)
}

func writeAndReadBack(path string, worker, round int) (result, error) {
	line := fmt.Sprintf("worker %d, round %d\n", worker, round)
	written := bytes.Repeat([]byte(line), 1+(worker+round)%7)
	if err := os.WriteFile(path, written, 0o644); err != nil {
		return result{}, err
	}
	read, err := os.ReadFile(path)
	if err != nil {
		return result{}, err
	}
	if !bytes.Equal(read, written) {
		return result{}, fmt.Errorf("%s: read %d bytes that differ from the %d written", path, len(read), len(written))
	}
	return result{worker, len(read), crc32.ChecksumIEEE(read)}, nil
}
