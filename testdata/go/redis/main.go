// Redis ADDRESS exercises a Redis server through go-redis: single commands, binary values
// larger than a socket's buffers, pipelines, a transaction, a blocking pop, and a
// subscription on a connection of its own. What it prints does not differ from run to run.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stealthrocket/net/wasip1"

	"timecraft/testdata/pattern"
)

const usage = "usage: redis ADDRESS"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "redis:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{
		Addr:   address,
		Dialer: wasip1.DialContext,
		// What a command sends must not depend on how fast the last was answered.
		ReadTimeout: time.Minute,
		MaxRetries:  -1,
		// Only what the steps say, whatever the server's version knows.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	})
	steps := []struct {
		name string
		step func(context.Context, *redis.Client) (string, error)
	}{
		{"ping", func(ctx context.Context, c *redis.Client) (string, error) { return c.Ping(ctx).Result() }},
		{"text", text},
		{"binary", binary},
		{"pipeline", pipeline},
		{"transaction", transaction},
		{"queue", queue},
		{"subscription", subscription},
	}
	for _, s := range steps {
		said, err := s.step(ctx, client)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Printf("%s: %s\n", s.name, said)
	}
	return client.Close()
}

func text(ctx context.Context, client *redis.Client) (string, error) {
	if err := client.Set(ctx, "greeting", "hello, wörld", 0).Err(); err != nil {
		return "", err
	}
	if err := client.Get(ctx, "no such key").Err(); !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("a key that was never set: %w", err)
	}
	return client.Get(ctx, "greeting").Result()
}

func binary(ctx context.Context, client *redis.Client) (string, error) {
	value, err := io.ReadAll(pattern.Reader(4 << 20))
	if err != nil {
		return "", err
	}
	if err := client.Set(ctx, "binary", value, 0).Err(); err != nil {
		return "", err
	}
	read, err := client.Get(ctx, "binary").Bytes()
	if err != nil {
		return "", err
	}
	if !bytes.Equal(read, value) {
		return "", errors.New("what was read differs from what was written")
	}
	return fmt.Sprintf("%d bytes", len(read)), nil
}

func pipeline(ctx context.Context, client *redis.Client) (string, error) {
	commands, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for range 100 {
			p.Incr(ctx, "counter")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(commands[len(commands)-1].(*redis.IntCmd).Val()), nil
}

func transaction(ctx context.Context, client *redis.Client) (string, error) {
	commands, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.IncrBy(ctx, "counter", 11)
		p.Get(ctx, "greeting")
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(len(commands), " ", commands[0].(*redis.IntCmd).Val()), nil
}

func queue(ctx context.Context, client *redis.Client) (string, error) {
	type popped struct {
		values []string
		err    error
	}
	done := make(chan popped)
	go func() {
		values, err := client.BLPop(ctx, time.Minute, "queue").Result()
		done <- popped{values, err}
	}()
	if err := client.RPush(ctx, "queue", "work").Err(); err != nil {
		return "", err
	}
	got := <-done
	return fmt.Sprint(got.values), got.err
}

func subscription(ctx context.Context, client *redis.Client) (string, error) {
	subscriber := client.Subscribe(ctx, "news")
	defer subscriber.Close()
	// Whoever publishes before this was confirmed publishes to nobody.
	if _, err := subscriber.Receive(ctx); err != nil {
		return "", err
	}
	if err := client.Publish(ctx, "news", "extra").Err(); err != nil {
		return "", err
	}
	message, err := subscriber.ReceiveMessage(ctx)
	if err != nil {
		return "", err
	}
	return message.Channel + " " + message.Payload, nil
}
