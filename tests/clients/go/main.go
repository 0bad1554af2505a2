// franz-go and sarama, driven by lines of JSON on standard input. The argument says which. Each request names an
// operation; each answer is one line; an error is {"error": ...}. It builds with Debian 12's Go 1.19, too.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

const timeout = 60 * time.Second

// client is one library. Members are named, and live until they are closed.
type client interface {
	produce(*request) ([]int64, error)
	consume(*request) ([]record, error)
	openMember(settings settings, topic string) (member, error)
}

// member reads a topic as one of a group, and commits what it has handled.
type member interface {
	look() seen
	close() seen
}

// settings go by the names that Java's client and librdkafka have in common.
type settings map[string]string

func (s settings) milliseconds(name string, otherwise time.Duration) time.Duration {
	if value, err := strconv.Atoi(s[name]); err == nil {
		return time.Duration(value) * time.Millisecond
	}
	return otherwise
}

type request struct {
	Operation  string
	Address    string
	Topic      string
	Partition  int32
	Codec      string
	Acks       string
	Idempotent bool
	Options    settings
	Records    []record
	Offset     *int64
	Timestamp  *int64
	Group      string
	Count      int
	Member     string
	Settings   settings
}

type header struct {
	name  string
	value []byte
}

func (h header) MarshalJSON() ([]byte, error) {
	return json.Marshal([]interface{}{h.name, h.value})
}

func (h *header) UnmarshalJSON(text []byte) error {
	pair := []interface{}{&h.name, &h.value}
	return json.Unmarshal(text, &pair)
}

type record struct {
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
	Timestamp *int64   `json:"timestamp"`
	Offset    int64    `json:"offset"`
}

func (r record) time() time.Time {
	if r.Timestamp == nil {
		return time.Time{}
	}
	return time.UnixMilli(*r.Timestamp)
}

// worker carries out requests with one library.
type worker struct {
	client  client
	members map[string]member
}

func (w *worker) carryOut(r *request) (interface{}, error) {
	switch r.Operation {
	case "produce":
		offsets, err := w.client.produce(r)
		return map[string]interface{}{"offsets": offsets}, err
	case "consume":
		records, err := w.client.consume(r)
		if records == nil {
			records = []record{}
		}
		return map[string]interface{}{"records": records}, err
	case "open_member":
		opened, err := w.client.openMember(r.Settings, r.Topic)
		if err == nil {
			w.members[r.Member] = opened
		}
		return map[string]interface{}{}, err
	case "look_at_member", "close_member":
		named, found := w.members[r.Member]
		if !found {
			return nil, errors.New("no such member")
		}
		if r.Operation == "look_at_member" {
			return named.look(), nil
		}
		delete(w.members, r.Member)
		return named.close(), nil
	}
	return nil, errors.New("unknown operation " + r.Operation)
}

func (w *worker) answer(line []byte) interface{} {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return map[string]string{"error": err.Error()}
	}
	answer, err := w.carryOut(&asked)
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return answer
}

func main() {
	clients := map[string]client{"franz-go": franz{}, "sarama": saramaClient{}}
	chosen, found := clients[os.Args[1]]
	if !found {
		fmt.Fprintln(os.Stderr, "worker franz-go|sarama")
		os.Exit(2)
	}
	w := worker{chosen, map[string]member{}}
	requests := bufio.NewReaderSize(os.Stdin, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := requests.ReadBytes('\n')
		if err != nil {
			return
		}
		if err := answers.Encode(w.answer(line)); err != nil {
			return
		}
	}
}
