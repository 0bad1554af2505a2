//go:build !old

package main

import "github.com/twmb/franz-go/pkg/kgo"

func withConsumerProtocol(options []kgo.Opt) ([]kgo.Opt, error) {
	return append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())), nil
}
