//go:build old

package main

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

func withConsumerProtocol([]kgo.Opt) ([]kgo.Opt, error) {
	return nil, errors.New("this release of franz-go has only the classic protocol")
}
