// Reads records of several partitions as one stream, each partition between two offsets.
//
// Order: within a partition by offset, always. Between partitions by timestamp, as far as records that are
// already there go: a partition that has more to read is waited for, one that is read to its end isn't.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "protocol/record_batch.h"
#include "tools/client/fetcher.h"
#include "tools/client/record_source.h"

namespace millrace::tools {

struct ConsumeRange {
  int32_t partition = 0;
  int64_t from = 0;
  // Exclusive; nothing: without end.
  std::optional<int64_t> to;
};

class Consumer : public RecordSource {
 public:
  // What a person should know and what doesn't end the reading, e.g. records that retention deleted
  // meanwhile.
  using OnNote = std::function<void(const std::string&)>;

  Consumer(Cluster& cluster, TopicInfo topic, FetchOptions options, const std::vector<ConsumeRange>& ranges,
           OnNote on_note);

  // From now on another topic of the same name, which was made after the first was deleted. No partition may
  // be read then.
  void set_topic(TopicInfo topic) { fetcher_.set_topic(std::move(topic)); }
  // Starts reading one more partition.
  void add(const ConsumeRange& range);
  // Stops reading a partition; what came of it and wasn't returned is dropped.
  void remove(int32_t partition);

  // Errors name topic, partition and offset. Where the broker says that what is stored is damaged, or can't
  // read a partition that has an end for as long as the cluster's timeout, a note tells so at once, the other
  // partitions are read on, and the error comes when they are done.
  Result<const ConsumedRecord*> next(int64_t wait_ms) override;
  // Every partition has been read to its end offset.
  bool finished() const override;
  // Where reading a partition would go on.
  int64_t position(int32_t partition) const;

 private:
  struct DecodedRecord {
    int64_t offset;
    int64_t timestamp_ms;
    std::optional<std::string_view> key;
    std::optional<std::string_view> value;
    std::vector<HeaderView> headers;
  };
  // One batch's records, with the memory they point into.
  struct DecodedBatch {
    std::shared_ptr<const Buffer> frame;
    Arena arena;
    bool log_append_time = false;
    std::vector<DecodedRecord> records;
    size_t at = 0;
  };
  struct PendingData {
    FetchedData data;
    // What of data.records hasn't been decoded.
    Bytes rest;
  };
  struct PartitionState {
    int64_t next = 0;
    std::optional<int64_t> to;
    bool done = false;
    // All that the broker had has been read.
    bool caught_up = false;
    std::deque<PendingData> pending;
    std::optional<DecodedBatch> batch;
    // Producers whose transaction was aborted and not yet ended, at the point of reading.
    std::set<int64_t> aborted;
  };

  bool has_record(const PartitionState& state) const {
    return state.batch && state.batch->at < state.batch->records.size();
  }
  Result<void> advance(int32_t partition, PartitionState& state);
  Result<void> decode_next(int32_t partition, PartitionState& state);
  Result<bool> skip_batch(PartitionState& state, PendingData& pending, const protocol::BatchHeader& header,
                          Bytes batch);
  Result<void> take(FetchedData data);
  Result<void> out_of_range(const FetchedData& data, PartitionState& state);
  void end_before_damage(const FetchedData& data, PartitionState& state);
  void give_up(const FetchedData& data, PartitionState& state);
  void end_early(const FetchedData& data, PartitionState& state);
  Error unread() const;
  void finish(int32_t partition, PartitionState& state);
  PartitionState* pick();

  Fetcher fetcher_;
  std::string topic_;
  Isolation isolation_;
  OnNote on_note_;
  std::map<int32_t, PartitionState> partitions_;
  ConsumedRecord current_;
  std::map<int32_t, ErrorCode> ended_early_;  // partitions that could be read no further
};

}  // namespace millrace::tools
