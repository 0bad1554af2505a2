package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type franz struct{}

func franzCodec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func (franz) produce(r *request) ([]int64, error) {
	acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[r.Acks]
	options := []kgo.Opt{
		kgo.AllowAutoTopicCreation(),
		kgo.SeedBrokers(r.Address),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(franzCodec(r.Codec)),
		kgo.RequiredAcks(acks),
		kgo.ProducerLinger(20 * time.Millisecond),
	}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if limit, err := strconv.Atoi(r.Options["message.max.bytes"]); err == nil {
		options = append(options, kgo.ProducerBatchMaxBytes(int32(limit)))
	}
	cl, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	sent := make([]*kgo.Record, len(r.Records))
	for i, given := range r.Records {
		sent[i] = &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: given.Key, Value: given.Value,
			Timestamp: given.time()}
		for _, h := range given.Headers {
			sent[i].Headers = append(sent[i].Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	results := cl.ProduceSync(ctx, sent...)
	offsets := make([]int64, len(results))
	for i, result := range results {
		offsets[i] = result.Record.Offset
	}
	return offsets, results.FirstErr()
}

// franzOffset asks for the offset of a time; -1 stands for the end, as in the protocol. Without a record that late
// the answer is -1.
func franzOffset(ctx context.Context, cl *kgo.Client, topic string, partition int32, at int64) (int64, error) {
	asked := kmsg.NewPtrListOffsetsRequest()
	asked.ReplicaID = -1
	asked.Topics = append(asked.Topics, kmsg.NewListOffsetsRequestTopic())
	asked.Topics[0].Topic = topic
	asked.Topics[0].Partitions = append(asked.Topics[0].Partitions, kmsg.NewListOffsetsRequestTopicPartition())
	asked.Topics[0].Partitions[0].Partition = partition
	asked.Topics[0].Partitions[0].Timestamp = at
	answer, err := asked.RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return 0, errors.New("ListOffsets was not answered for the partition")
	}
	found := answer.Topics[0].Partitions[0]
	return found.Offset, kerr.ErrorForCode(found.ErrorCode)
}

func (franz) consume(r *request) ([]record, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Address))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	end, err := franzOffset(ctx, cl, r.Topic, r.Partition, -1)
	if err != nil {
		return nil, err
	}
	var start int64
	if r.Offset != nil {
		start = *r.Offset
	} else if start, err = franzOffset(ctx, cl, r.Topic, r.Partition, *r.Timestamp); err != nil {
		return nil, err
	} else if start < 0 {
		start = end
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{
		r.Topic: {r.Partition: kgo.NewOffset().At(start)}})
	var read []record
	for at := start; at < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("at %d, want up to %d: %w", at, end, err)
		}
		fetches.EachRecord(func(got *kgo.Record) {
			read = append(read, franzRecord(got))
			at = got.Offset + 1
		})
	}
	return read, nil
}

func franzRecord(got *kgo.Record) record {
	timestamp := got.Timestamp.UnixMilli()
	made := record{Key: got.Key, Value: got.Value, Headers: []header{}, Timestamp: &timestamp, Offset: got.Offset}
	for _, h := range got.Headers {
		made.Headers = append(made.Headers, header{h.Key, h.Value})
	}
	return made
}

// franzMember commits each poll's records before it lets a rebalance go on.
type franzMember struct {
	handled
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{}
}

func (franz) openMember(s settings, topic string) (member, error) {
	m := &franzMember{done: make(chan struct{})}
	gained := func(_ context.Context, _ *kgo.Client, taken map[string][]int32) { m.gain(taken) }
	lost := func(_ context.Context, _ *kgo.Client, taken map[string][]int32) { m.lose(taken) }
	options := []kgo.Opt{
		kgo.SeedBrokers(s["bootstrap.servers"]),
		kgo.ConsumerGroup(s["group.id"]),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(s.milliseconds("heartbeat.interval.ms", 3*time.Second)),
		kgo.SessionTimeout(s.milliseconds("session.timeout.ms", 45*time.Second)),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(gained),
		kgo.OnPartitionsRevoked(lost),
		kgo.OnPartitionsLost(lost),
	}
	balancers := map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
		"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer()}
	if balancer, named := balancers[s["partition.assignment.strategy"]]; named {
		options = append(options, kgo.Balancers(balancer))
	}
	if strings.HasPrefix(topic, "^") {
		options = append(options, kgo.ConsumeRegex())
	}
	if name := s["group.instance.id"]; name != "" {
		options = append(options, kgo.InstanceID(name))
	}
	ctx, stop := context.WithCancel(context.Background())
	var err error
	if s["group.protocol"] == "consumer" {
		if options, err = withConsumerProtocol(options); err != nil {
			return nil, err
		}
	}
	m.stop = stop
	if m.client, err = kgo.NewClient(options...); err != nil {
		return nil, err
	}
	go m.run(ctx)
	return m, nil
}

func (m *franzMember) run(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		fetches := m.client.PollRecords(ctx, 100)
		fetches.EachRecord(func(got *kgo.Record) { m.handle(got.Value) })
		m.commit(fetches.Records())
		m.client.AllowRebalance()
	}
}

func (m *franzMember) commit(records []*kgo.Record) {
	for until := time.Now().Add(timeout); len(records) > 0; time.Sleep(100 * time.Millisecond) {
		err := m.client.CommitRecords(context.Background(), records...)
		if err == nil {
			return
		}
		if kerr.IsRetriable(err) && time.Now().Before(until) {
			continue
		}
		if errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) ||
			errors.Is(err, kerr.RebalanceInProgress) || time.Now().After(until) {
			return // the partitions are another's, who reads it again
		}
	}
}

func (m *franzMember) close() seen {
	m.stop()
	<-m.done
	m.client.CloseAllowingRebalance()
	return m.look()
}
