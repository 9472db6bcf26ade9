// SPDX-License-Identifier: Apache-2.0

// send NAMESRV TOPIC PREFIX COUNT: sends the bodies PREFIX0, PREFIX1, ... one by one.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 5 {
		return fmt.Errorf("usage: send NAMESRV TOPIC PREFIX COUNT")
	}
	count, err := strconv.Atoi(os.Args[4])
	if err != nil {
		return err
	}
	p, err := rocketmq.NewProducer(producer.WithNameServer([]string{os.Args[1]}), producer.WithGroupName("go_send"), producer.WithRetry(2))
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Shutdown()
	for i := 0; i < count; i++ {
		message := primitive.NewMessage(os.Args[2], []byte(os.Args[3]+strconv.Itoa(i)))
		message.WithTag("go")
		if _, err := p.SendSync(context.Background(), message); err != nil {
			return err
		}
	}
	fmt.Println("sent", count)
	return nil
}
