// Reads record batches of one topic's partitions: one fetch on the way to each leader, the next sent before
// the last one's data is used.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/client/cluster.h"
#include "tools/client/offsets.h"

namespace millrace::tools {

struct FetchOptions {
  Isolation isolation = Isolation::kReadUncommitted;
  // How long the broker waits when there is nothing new.
  int32_t max_wait_ms = 500;
  int32_t min_bytes = 1;
  int32_t max_bytes = 16 * 1024 * 1024;
  int32_t partition_max_bytes = 4 * 1024 * 1024;
};

struct AbortedTransaction {
  int64_t producer_id = 0;
  int64_t first_offset = 0;
};

// What one fetch brought of one partition.
struct FetchedData {
  int32_t partition = 0;
  // kNone, or an error that trying again doesn't mend, or didn't for the cluster's timeout; kOffsetOutOfRange
  // has the partition's bounds filled in.
  ErrorCode error = ErrorCode::kNone;
  // Whole batches; may start before the offset asked for and end in the middle of a batch. Points into
  // `frame`.
  Bytes records;
  std::shared_ptr<const Buffer> frame;
  // After the last whole batch; the fetch's own offset when there is none.
  int64_t next_offset = 0;
  int64_t fetch_offset = 0;
  int64_t log_start_offset = -1;
  // Up to where this isolation level may read.
  int64_t end_offset = -1;
  std::vector<AbortedTransaction> aborted;
  // From the request to the whole answer.
  int64_t latency_us = 0;
};

class Fetcher {
 public:
  // The cluster must outlive the fetcher.
  Fetcher(Cluster& cluster, TopicInfo topic, FetchOptions options)
      : cluster_(cluster), topic_(std::move(topic)), options_(options) {}

  const TopicInfo& topic() const { return topic_; }
  // Another topic of the same name; answers that are on the way are nobody's. No partition may be asked for
  // then.
  void set_topic(TopicInfo topic);

  // Starts reading a partition at an offset, or goes on from another one.
  void seek(int32_t partition, int64_t offset);
  // Stops asking for a partition, for good or until its data has been used.
  void pause(int32_t partition, bool paused);
  void remove(int32_t partition) { positions_.erase(partition); }

  // What came within `wait_ms`, or before it is time to try a partition again; empty when nothing did. Errors
  // that end everything: no broker to talk to within the timeout, the topic is gone
  // (kUnknownTopicOrPartition), or was made again (kUnknownTopicId).
  Result<std::vector<FetchedData>> poll(int64_t wait_ms);

 private:
  struct PartitionState {
    int64_t offset = 0;
    bool paused = false;
    bool on_the_way = false;
    int64_t not_before_us = 0;
    // Since when it had nothing but errors; 0 while things work.
    int64_t failing_since_us = 0;
  };
  struct Line {
    Connection* connection = nullptr;
    bool waiting = false;
    // The offset asked for, by partition. Leaders may change before the answer comes, and callers may seek.
    std::map<int32_t, int64_t> asked;
    Deadline deadline = Deadline::after_ms(0);
    int64_t sent_us = 0;
  };

  Result<void> send_fetches(std::vector<FetchedData>& fetched);
  Result<void> send_fetch(int32_t leader, const std::vector<int32_t>& partitions);
  Result<void> take_answer(int32_t leader, Connection::Response response, std::vector<FetchedData>& fetched);
  Result<void> fail_line(int32_t leader, const Error& error);
  Result<void> refresh();
  void hold_back(int32_t partition);
  int64_t held_back_ms(int64_t now_us) const;
  void failed(int32_t partition, ErrorCode error, std::vector<FetchedData>& fetched);

  Cluster& cluster_;
  TopicInfo topic_;
  FetchOptions options_;
  std::map<int32_t, PartitionState> positions_;
  std::map<int32_t, Line> lines_;
  bool stale_ = false;
  // Since when nothing but failures came; 0 while things work.
  int64_t failing_since_us_ = 0;
};

}  // namespace millrace::tools
