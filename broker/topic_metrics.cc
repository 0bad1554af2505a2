#include "broker/topic_metrics.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/replication/partition.h"

namespace millrace::broker {
namespace {

struct PartitionNumbers {
  TopicIdPartition id;
  int64_t current_offset = 0;
  int64_t oldest_offset = 0;
  int64_t size_bytes = 0;
};
using NumbersByPartition = std::unordered_map<TopicIdPartition, PartitionNumbers>;

runtime::Task<NumbersByPartition> collect(api::Services& services) {
  NumbersByPartition all;
  for (const auto& shard : services.shards) {
    auto read = [&services, &shard = *shard] {
      std::vector<PartitionNumbers> numbers;
      services.of(shard).partitions.for_each([&](const replication::Partition& partition) {
        if (partition.removed()) return;
        const storage::Log& log = partition.log();
        numbers.push_back(
            {partition.id(), partition.high_watermark(), log.log_start_offset(), log.size_bytes()});
      });
      return numbers;
    };
    const auto numbers_of_shard = co_await shard->call(read);
    for (const PartitionNumbers& numbers : numbers_of_shard) all.emplace(numbers.id, numbers);
  }
  co_return all;
}

void describe(runtime::MetricsWriter& out) {
  out.describe("kafka_brokers", "gauge", "Brokers in the cluster");
  out.describe("kafka_broker_info", "gauge", "A broker's id and address");
  out.describe("kafka_topic_partitions", "gauge", "Partitions of the topic");
  out.describe("kafka_topic_partition_current_offset", "gauge",
               "Offset of the next record that consumers will see");
  out.describe("kafka_topic_partition_oldest_offset", "gauge", "Offset of the oldest record that is kept");
  out.describe("kafka_topic_partition_leader", "gauge", "Id of the broker that leads the partition");
  out.describe("kafka_topic_partition_leader_is_preferred", "gauge", "1 if the leader is the first replica");
  out.describe("kafka_topic_partition_replicas", "gauge", "Replicas of the partition");
  out.describe("kafka_topic_partition_in_sync_replica", "gauge", "Replicas that are in sync");
  out.describe("kafka_topic_partition_under_replicated_partition", "gauge", "1 if a replica isn't in sync");
  out.describe("kafka_log_log_size", "gauge", "Bytes of the partition's segments");
  out.describe("millrace_disk_full", "gauge", "1 while records are refused because the disk is full");
  out.describe("millrace_disk_full_refused_total", "counter", "Batches refused because the disk was full");
}

void emit(runtime::MetricsWriter& out, const metadata::TopicImage& topic, const NumbersByPartition& numbers) {
  out.sample("kafka_topic_partitions", {{"topic", topic.name}},
             static_cast<int64_t>(topic.partitions.size()));
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    const metadata::PartitionImage& image = topic.partitions[i];
    const runtime::Labels labels = {{"partition", std::to_string(i)}, {"topic", topic.name}};
    const auto preferred = image.replicas.empty() ? metadata::kNoBroker : image.replicas.front();
    out.sample("kafka_topic_partition_leader", labels, int64_t{image.leader});
    out.sample("kafka_topic_partition_leader_is_preferred", labels, int64_t{image.leader == preferred});
    out.sample("kafka_topic_partition_replicas", labels, static_cast<int64_t>(image.replicas.size()));
    out.sample("kafka_topic_partition_in_sync_replica", labels, static_cast<int64_t>(image.isr.size()));
    out.sample("kafka_topic_partition_under_replicated_partition", labels,
               int64_t{image.isr.size() < image.replicas.size()});
    const auto found = numbers.find({topic.id, static_cast<int32_t>(i)});
    if (found == numbers.end()) continue;
    out.sample("kafka_topic_partition_current_offset", labels, found->second.current_offset);
    out.sample("kafka_topic_partition_oldest_offset", labels, found->second.oldest_offset);
    out.sample("kafka_log_log_size", labels, found->second.size_bytes);
  }
}

runtime::Task<> emit_topics(api::Services& services, runtime::MetricsWriter& out) {
  const NumbersByPartition numbers = co_await collect(services);
  const metadata::ImagePtr image = services.metadata.image();
  describe(out);
  out.sample("millrace_disk_full", {}, int64_t{services.write_trouble.disk_is_full()});
  out.sample("millrace_disk_full_refused_total", {}, services.write_trouble.refused());
  out.sample("kafka_brokers", {}, static_cast<int64_t>(image->brokers().size()));
  for (const auto& [id, broker] : image->brokers()) {
    if (broker.endpoints.empty()) continue;
    const auto& endpoint = broker.endpoints.front();
    out.sample("kafka_broker_info",
               {{"address", fmt::format("{}:{}", endpoint.host, endpoint.port)}, {"id", std::to_string(id)}},
               int64_t{1});
  }
  image->topics().for_each([&](const metadata::TopicPtr& topic) { emit(out, *topic, numbers); });
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t open_descriptors() {
  int64_t count = 0;
  std::error_code failed;
  for (std::filesystem::directory_iterator it("/proc/self/fd", failed), end; !failed && it != end;
       it.increment(failed)) {
    ++count;
  }
  return count;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

void add_topic_metrics(runtime::MetricsRegistry& registry, api::Services& services) {
  registry.add_collector([&services](runtime::MetricsWriter& out) { return emit_topics(services, out); });
}

void add_process_metrics(runtime::MetricsRegistry& registry, const runtime::Clock& clock) {
  const double started = static_cast<double>(clock.now_ms()) / 1e3;
  registry.add_collector([started](runtime::MetricsWriter& out) -> runtime::Task<> {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    out.describe("process_cpu_seconds_total", "counter", "User and system time of the process");
    out.sample("process_cpu_seconds_total", {}, seconds(usage.ru_utime) + seconds(usage.ru_stime));
    out.describe("process_resident_memory_bytes", "gauge", "Resident memory of the process");
    out.sample("process_resident_memory_bytes", {}, resident_bytes());
    out.describe("process_open_fds", "gauge", "Open file descriptors");
    out.sample("process_open_fds", {}, open_descriptors());
    out.describe("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970");
    out.sample("process_start_time_seconds", {}, started);
    co_return;
  });
}

}  // namespace millrace::broker
