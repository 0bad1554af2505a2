// Java's producer, consumer and admin client, driven by lines of JSON on standard input, so that many tests
// share one JVM. Each request names an operation; each answer is one line; an error is {"error": ...}.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Worker {
  static final ObjectMapper JSON = new ObjectMapper();
  static final Duration TIMEOUT = Duration.ofSeconds(60);
  static PrintStream answers;

  public static void main(String[] arguments) throws Exception {
    answers = System.out;
    System.setOut(System.err);
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      ObjectNode answer;
      try {
        answer = carryOut(JSON.readTree(line));
      } catch (Exception e) {
        Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
        answer = JSON.createObjectNode().put("error", cause.toString());
      }
      say(answer);
    }
    System.exit(0);
  }

  static synchronized void say(ObjectNode answer) {
    answers.println(answer);
    answers.flush();
  }

  static ObjectNode carryOut(JsonNode request) throws Exception {
    switch (request.get("operation").asText()) {
      case "produce":
        return produce(request);
      case "consume":
        return consume(request);
      case "open_member":
        return Member.open(request);
      case "look_at_member":
        return Member.named(request).look();
      case "close_member":
        return Member.named(request).close();
      case "administer":
        return administer(request);
      case "examine":
        return examine(request);
      case "produce_sequence":
        return produceSequence(request);
      default:
        throw new IllegalArgumentException("unknown operation");
    }
  }

  static byte[] bytes(JsonNode text) {
    return text.isNull() ? null : Base64.getDecoder().decode(text.asText());
  }

  static String text(byte[] data) {
    return data == null ? null : Base64.getEncoder().encodeToString(data);
  }

  static Map<String, Object> producerSettings(JsonNode request) {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", request.get("address").asText());
    settings.put("acks", request.get("acks").asText());
    settings.put("compression.type", request.get("codec").asText());
    settings.put("enable.idempotence", request.get("idempotent").asBoolean());
    settings.put("linger.ms", 20);
    settings.put("key.serializer", ByteArraySerializer.class);
    settings.put("value.serializer", ByteArraySerializer.class);
    request.get("options").fields().forEachRemaining(
        option -> settings.put(
            option.getKey().equals("message.max.bytes") ? "max.request.size" : option.getKey(),
            option.getValue().asText()));
    return settings;
  }

  static ObjectNode produce(JsonNode request) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    ObjectNode answer = JSON.createObjectNode();
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(producerSettings(request))) {
      for (JsonNode fields : request.get("records")) {
        JsonNode timestamp = fields.get("timestamp");
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
            request.get("topic").asText(), request.get("partition").asInt(),
            timestamp.isNull() ? null : timestamp.asLong(), bytes(fields.get("key")),
            bytes(fields.get("value")));
        for (JsonNode header : fields.get("headers")) {
          record.headers().add(header.get(0).asText(), bytes(header.get(1)));
        }
        sent.add(producer.send(record));
      }
      producer.flush();
      ArrayNode offsets = answer.putArray("offsets");
      for (Future<RecordMetadata> future : sent) {
        offsets.add(future.get().offset());
      }
    }
    return answer;
  }

  static ObjectNode consume(JsonNode request) {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", request.get("address").asText());
    settings.put("auto.offset.reset", "none");
    settings.put("check.crcs", true);
    TopicPartition partition =
        new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
             settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(List.of(partition));
      long end = consumer.endOffsets(List.of(partition)).get(partition);
      long start = request.get("offset").isNull()
          ? offsetOfTime(consumer, partition, request.get("timestamp").asLong(), end)
          : request.get("offset").asLong();
      consumer.seek(partition, start);
      return readTo(consumer, partition, end);
    }
  }

  static long offsetOfTime(
      KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long timestamp, long end) {
    OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, timestamp)).get(partition);
    return found == null ? end : found.offset();
  }

  static ObjectNode readTo(
      KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long end) {
    ObjectNode answer = JSON.createObjectNode();
    ArrayNode records = answer.putArray("records");
    long deadline = System.nanoTime() + TIMEOUT.toNanos();
    while (consumer.position(partition) < end) {
      if (System.nanoTime() > deadline) {
        throw new IllegalStateException("at " + consumer.position(partition) + ", want " + end);
      }
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
        put(records, record);
      }
    }
    return answer;
  }

  static void put(ArrayNode records, ConsumerRecord<byte[], byte[]> record) {
    ObjectNode fields = records.addObject();
    fields.put("key", text(record.key())).put("value", text(record.value()));
    fields.put("timestamp", record.timestamp()).put("offset", record.offset());
    ArrayNode headers = fields.putArray("headers");
    for (Header header : record.headers()) {
      headers.addArray().add(header.key()).add(text(header.value()));
    }
  }

  // Sends `count` numbered records over `partitions` partitions, number n to partition n % partitions, at most
  // `rate` a second, and reports the number acknowledged after every `report_every`. The idempotent producer
  // retries by itself; a record that fails for good is an error.
  static ObjectNode produceSequence(JsonNode request) throws Exception {
    int count = request.get("count").asInt();
    int partitions = request.get("partitions").asInt();
    int rate = request.get("rate").asInt();
    int reportEvery = request.get("report_every").asInt();
    String topic = request.get("topic").asText();
    AtomicInteger acked = new AtomicInteger();
    AtomicReference<Exception> failure = new AtomicReference<>();
    long began = System.nanoTime();
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(producerSettings(request))) {
      for (int n = 0; n < count && failure.get() == null; n++) {
        long ahead = n * 1_000_000_000L / rate - (System.nanoTime() - began);
        if (ahead > 1_000_000L) {
          Thread.sleep(ahead / 1_000_000L);
        }
        byte[] value = Integer.toString(n).getBytes(StandardCharsets.US_ASCII);
        producer.send(
            new ProducerRecord<>(topic, n % partitions, null, value),
            (metadata, error) -> {
              if (error != null) {
                failure.compareAndSet(null, error);
              } else if (acked.incrementAndGet() % reportEvery == 0) {
                say(JSON.createObjectNode().put("progress", acked.get()));
              }
            });
      }
      producer.flush();
    }
    if (failure.get() != null) {
      throw failure.get();
    }
    return JSON.createObjectNode().put("acknowledged", acked.get());
  }

  // One topic's life as Java's admin client leads it; every step's outcome by name.
  static ObjectNode administer(JsonNode request) throws Exception {
    String name = request.get("topic").asText();
    ObjectNode seen = JSON.createObjectNode();
    try (Admin admin = Admin.create(
             Map.of("bootstrap.servers", request.get("address").asText()))) {
      seen.put("cluster_id", admin.describeCluster().clusterId().get());
      seen.put("nodes", admin.describeCluster().nodes().get().size());
      seen.put("controller", admin.describeCluster().controller().get().id());
      Uuid id = admin.createTopics(List.of(new NewTopic(name, 2, (short) 1)
                                               .configs(Map.of("retention.ms", "777000"))))
                    .topicId(name).get();
      seen.put("created_id", id.toString());
      seen.put("listed", admin.listTopics().names().get().contains(name));
      admin.createPartitions(Map.of(name, NewPartitions.increaseTo(3))).all().get();
      TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id)))
                                  .allTopicIds().get().get(id);
      seen.put("described_name", byId.name()).put("described_partitions", byId.partitions().size());
      seen.put("leader", byId.partitions().get(0).leader().id());
      changeConfig(admin, name, seen);
      admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
      seen.put("listed_after", admin.listTopics().names().get().contains(name));
    }
    return seen;
  }

  static void changeConfig(Admin admin, String name, ObjectNode seen) throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
    admin.incrementalAlterConfigs(Map.of(resource, List.of(
        new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
        new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE),
        new AlterConfigOp(new ConfigEntry("segment.ms", "12345"), AlterConfigOp.OpType.SET))))
        .all().get();
    Map<String, ConfigEntry> entries =
        admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
            .collect(Collectors.toMap(ConfigEntry::name, entry -> entry));
    for (String key : List.of("cleanup.policy", "retention.ms", "segment.ms")) {
      seen.put(key, entries.get(key).value());
      seen.put(key + " from", entries.get(key).source().name());
    }
  }

  // What the admin client says of a partition that an idempotent producer wrote to, before and after its
  // first records were deleted.
  static ObjectNode examine(JsonNode request) throws Exception {
    TopicPartition partition = new TopicPartition(request.get("topic").asText(), 0);
    ObjectNode seen = JSON.createObjectNode();
    try (Admin admin = Admin.create(
             Map.of("bootstrap.servers", request.get("address").asText()))) {
      ArrayNode producers = seen.putArray("producers");
      for (ProducerState state : admin.describeProducers(List.of(partition))
                                     .partitionResult(partition).get().activeProducers()) {
        producers.addObject().put("epoch", state.producerEpoch())
            .put("last_sequence", state.lastSequence());
      }
      seen.put("low_watermark",
          admin.deleteRecords(Map.of(partition,
              RecordsToDelete.beforeOffset(request.get("delete_before").asLong())))
              .lowWatermarks().get(partition).get().lowWatermark());
      Map<String, OffsetSpec> specs = Map.of("earliest", OffsetSpec.earliest(), "latest",
          OffsetSpec.latest(), "earliest_local", OffsetSpec.earliestLocal());
      for (Map.Entry<String, OffsetSpec> spec : specs.entrySet()) {
        seen.put(spec.getKey(),
            admin.listOffsets(Map.of(partition, spec.getValue())).partitionResult(partition).get()
                .offset());
      }
    }
    return seen;
  }

  // A member of a group in a thread of its own: reads, and commits what it has read.
  static class Member implements ConsumerRebalanceListener, Runnable {
    static final Map<String, Member> MEMBERS = new HashMap<>();

    final KafkaConsumer<byte[], byte[]> consumer;
    final ConcurrentLinkedQueue<String> values = new ConcurrentLinkedQueue<>();
    final AtomicReference<String> failure = new AtomicReference<>();
    final AtomicReference<List<String>> assigned = new AtomicReference<>(List.of());
    final Thread thread = new Thread(this);
    volatile boolean closing;
    boolean uncommitted;

    static ObjectNode open(JsonNode request) {
      Member member = new Member(request);
      MEMBERS.put(request.get("member").asText(), member);
      member.thread.start();
      return JSON.createObjectNode();
    }

    static Member named(JsonNode request) {
      return MEMBERS.get(request.get("member").asText());
    }

    Member(JsonNode request) {
      Map<String, Object> settings = new HashMap<>();
      settings.put("auto.offset.reset", "earliest");
      settings.put("enable.auto.commit", false);
      request.get("settings").fields().forEachRemaining(
          setting -> settings.put(setting.getKey(), setting.getValue().asText()));
      consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
      String topic = request.get("topic").asText();
      if (topic.startsWith("^")) {
        consumer.subscribe(new SubscriptionPattern(topic.substring(1)), this);
      } else {
        consumer.subscribe(List.of(topic), this);
      }
    }

    public void run() {
      try (consumer) {
        while (!closing || uncommitted) {
          var records = consumer.poll(Duration.ofMillis(100));
          uncommitted |= !records.isEmpty();
          records.forEach(
              record -> values.add(new String(record.value(), StandardCharsets.ISO_8859_1)));
          assigned.set(consumer.assignment().stream().map(TopicPartition::toString).sorted()
                           .collect(Collectors.toList()));
          if (uncommitted) {
            commit();
          }
        }
      } catch (Exception e) {
        failure.set(e.toString());
      }
    }

    // What can pass is tried again. In the middle of a rebalance it has to wait for the next poll; a partition that
    // moves by then is read again by its new owner.
    void commit() {
      for (long until = System.nanoTime() + TIMEOUT.toNanos();;) {
        try {
          consumer.commitSync();
          uncommitted = false;
          return;
        } catch (CommitFailedException | RebalanceInProgressException e) {
          System.err.println("not committed: " + e);
          return;
        } catch (RetriableException e) {
          if (System.nanoTime() > until) {
            throw e;
          }
        }
      }
    }

    // Positions in a topic that was deleted can't be committed, and Java's client tries for a minute: only what was read
    // is worth a commit.
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
      if (uncommitted) {
        commit();
      }
    }

    public void onPartitionsLost(Collection<TopicPartition> partitions) {
      uncommitted = false;
    }

    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

    ObjectNode look() {
      ObjectNode seen = JSON.createObjectNode();
      ArrayNode partitions = seen.putArray("assigned");
      assigned.get().forEach(partitions::add);
      ArrayNode read = seen.putArray("values");
      for (String value = values.poll(); value != null; value = values.poll()) {
        read.add(value);
      }
      return seen.put("failure", failure.get());
    }

    ObjectNode close() throws InterruptedException {
      closing = true;
      thread.join();
      return look();
    }
  }
}
