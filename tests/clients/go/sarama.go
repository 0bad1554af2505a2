package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct{}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.Retry.Max = 40
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	return config
}

func saramaCodec(name string) sarama.CompressionCodec {
	codecs := map[string]sarama.CompressionCodec{"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}
	return codecs[name] // none is 0
}

func (saramaClient) produce(r *request) ([]int64, error) {
	config := saramaConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = saramaCodec(r.Codec)
	config.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll}[r.Acks]
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.Return.Successes = true
	config.Producer.Idempotent = r.Idempotent
	config.Net.MaxOpenRequests = 1
	if limit, err := strconv.Atoi(r.Options["message.max.bytes"]); err == nil {
		config.Producer.MaxMessageBytes = limit
	}
	producer, err := sarama.NewSyncProducer([]string{r.Address}, config)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	sent := make([]*sarama.ProducerMessage, len(r.Records))
	for i, given := range r.Records {
		sent[i] = &sarama.ProducerMessage{Topic: r.Topic, Partition: r.Partition, Timestamp: given.time()}
		if given.Key != nil {
			sent[i].Key = sarama.ByteEncoder(given.Key)
		}
		if given.Value != nil {
			sent[i].Value = sarama.ByteEncoder(given.Value)
		}
		for _, h := range given.Headers {
			sent[i].Headers = append(sent[i].Headers, sarama.RecordHeader{Key: []byte(h.name), Value: h.value})
		}
	}
	if err := producer.SendMessages(sent); err != nil {
		var failed sarama.ProducerErrors
		if errors.As(err, &failed) {
			return nil, failed[0].Err
		}
		return nil, err
	}
	offsets := make([]int64, len(sent))
	for i, message := range sent {
		offsets[i] = message.Offset
	}
	return offsets, nil
}

func (saramaClient) consume(r *request) ([]record, error) {
	cl, err := sarama.NewClient([]string{r.Address}, saramaConfig())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	end, err := cl.GetOffset(r.Topic, r.Partition, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	var start int64
	if r.Offset != nil {
		start = *r.Offset
	} else if start, err = cl.GetOffset(r.Topic, r.Partition, *r.Timestamp); err != nil {
		return nil, err
	}
	if start < 0 || start >= end {
		return nil, nil
	}
	consumer, err := sarama.NewConsumerFromClient(cl)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(r.Topic, r.Partition, start)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var read []record
	for at, late := start, time.After(timeout); at < end; {
		select {
		case got := <-partition.Messages():
			read = append(read, saramaRecord(got))
			at = got.Offset + 1
		case <-late:
			return nil, fmt.Errorf("at %d, want up to %d", at, end)
		}
	}
	return read, nil
}

func saramaRecord(got *sarama.ConsumerMessage) record {
	timestamp := got.Timestamp.UnixMilli()
	made := record{Key: got.Key, Value: got.Value, Headers: []header{}, Timestamp: &timestamp, Offset: got.Offset}
	for _, h := range got.Headers {
		made.Headers = append(made.Headers, header{string(h.Key), h.Value})
	}
	return made
}

// saramaMember commits after every record that is not followed at once by another.
type saramaMember struct {
	handled
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	done  chan struct{}
}

func (saramaClient) openMember(s settings, topic string) (member, error) {
	config := saramaConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = s.milliseconds("heartbeat.interval.ms", 3*time.Second)
	config.Consumer.Group.Session.Timeout = s.milliseconds("session.timeout.ms", 45*time.Second)
	config.Consumer.Group.InstanceId = s["group.instance.id"]
	balancers := map[string]sarama.BalanceStrategy{"range": sarama.NewBalanceStrategyRange(),
		"roundrobin": sarama.NewBalanceStrategyRoundRobin(), "sticky": sarama.NewBalanceStrategySticky()}
	if balancer, named := balancers[s["partition.assignment.strategy"]]; named {
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{balancer}
	}
	group, err := sarama.NewConsumerGroup([]string{s["bootstrap.servers"]}, s["group.id"], config)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &saramaMember{group: group, stop: stop, done: make(chan struct{})}
	go m.run(ctx, topic)
	return m, nil
}

func (m *saramaMember) run(ctx context.Context, topic string) {
	defer close(m.done)
	for ctx.Err() == nil {
		// It ends with each generation. What goes wrong while a broker restarts is tried again.
		if err := m.group.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (m *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	m.gain(session.Claims())
	return nil
}

func (m *saramaMember) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	m.lose(nil)
	return nil
}

func (m *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case got, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.handle(got.Value)
			session.MarkMessage(got, "")
			if len(claim.Messages()) == 0 {
				session.Commit()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *saramaMember) close() seen {
	m.stop()
	<-m.done
	if err := m.group.Close(); err != nil {
		m.fail(err)
	}
	return m.look()
}
